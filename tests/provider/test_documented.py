"""The example of docs/add-an-operation.md is an operation."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from berth.provider.command import put
from berth.provider.host import Host

PAGE = Path(__file__).parent.parent.parent / "docs/add-an-operation.md"


@pytest.fixture
def example() -> Iterator[Any]:
    """The page's first block of Python, as a module."""
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    module = types.ModuleType("documented_operation")
    sys.modules[module.__name__] = module  # pydantic looks annotations up there
    exec(compile(found[1], str(PAGE), "exec"), vars(module))  # noqa: S102 -- it is this project's own page
    yield module
    del sys.modules[module.__name__]


async def test_it_converges_on_a_real_file(
    example: Any, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example.CronWant, "path", property(lambda want: f"{tmp_path}/{want.name}"))
    want = example.CronWant(host="box", name="backup", lines=["0 3 * * * root /backup"])
    operation = example.Cron()
    assert operation.steps(want, None) == [put(want.path, "0 3 * * * root /backup\n")]
    assert await operation.observe(host, want) is None
    assert await operation.converge(host, want, want) == want
    assert (tmp_path / "backup").read_text() == "0 3 * * * root /backup\n"
    assert await operation.converge(host, None, want) is None
    assert list(tmp_path.glob("backup")) == []
