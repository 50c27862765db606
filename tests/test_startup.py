"""What every preview waits for before it can ask a host: no more is imported than that needs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LATER = {"asyncssh", "cryptography", "requests", "rich", "typer", "pysequoia", "grafana_foundation_sdk"}
"""Take from 20 to 200 ms each, and only some stacks and hosts need them."""


def _before_the_hosts() -> set[str]:
    """What the program imports before its hosts are asked."""
    program = ast.parse((ROOT / "__main__.py").read_text()).body
    asks = next(index for index, one in enumerate(program) if isinstance(one, ast.With))
    return {str(one.module) for one in program[:asks] if isinstance(one, ast.ImportFrom)}


@pytest.mark.parametrize(
    ("who", "modules"),
    [("the provider", {"berth.provider.serve"}), ("the program", _before_the_hosts())],
    ids=["provider", "program"],
)
def test_only_what_asking_the_hosts_needs_is_imported_before(who: str, modules: set[str]) -> None:
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    early = {name for name in loaded if name in LATER or name.startswith("berth.provider.operations.")}
    assert not early, f"{who} waits for {', '.join(sorted(early))}; import it where it is used"
