"""The model architectures that a vLLM release serves, read from the dictionaries of its registry without running it."""

from __future__ import annotations

import ast
from pathlib import Path

_OTHER = {"_PREVIOUSLY_SUPPORTED_MODELS", "_OOT_SUPPORTED_MODELS"}
"""Dictionaries of the registry that list what is not served."""


def architectures(folder: Path) -> set[str]:
    """The keys of every `_…_MODELS = {…}` of the registry."""
    source = (folder / "vllm/model_executor/models/registry.py").read_text(encoding="utf-8")
    found: set[str] = set()
    for statement in ast.parse(source).body:
        if not (isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict)):
            continue
        name = ast.unparse(statement.targets[0])
        if name.endswith("_MODELS") and name not in _OTHER:
            found |= {
                key.value
                for key in statement.value.keys
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            }
    return found
