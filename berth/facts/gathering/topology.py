"""How the GPUs of a machine reach each other, as the driver's own table says it."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

from berth.facts.gathering.sections import Sections, lines

SCRIPT = r"""
if has nvidia-smi; then part links; within 20 nvidia-smi topo -m; fi
"""

_STYLE = re.compile(r"\x1b\[[0-9;]*m")
"""The table's head is underlined, by some releases into a pipe as well."""


def read(found: Sections) -> dict[str, Any]:
    """The field `links` of `HostFacts`; empty where there is one card, or no table."""
    table = [_STYLE.sub("", line).split() for line in lines(found, "links")]
    head = next((words for words in table if words[:1] == ["GPU0"]), [])
    columns = [word for word in head if re.fullmatch(r"GPU\d+", word)]
    rows = {words[0]: words[1:] for words in table if words is not head and words and words[0] in columns}
    whole = {name: row for name, row in rows.items() if len(row) >= len(columns)}
    pairs = combinations(range(len(columns)), 2)
    return {"links": {f"{a}-{b}": whole[f"GPU{a}"][b] for a, b in pairs if f"GPU{a}" in whole}}
