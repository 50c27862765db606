"""Compares with a committed text; `BERTH_WRITE_GOLDEN=1` writes it anew, for the diff to be read before a commit."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def same_as_before(name: str, text: str) -> bool:
    """Whether the text is that of `golden/<name>`."""
    file = FOLDER / name
    if os.environ.get("BERTH_WRITE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")
    return True
