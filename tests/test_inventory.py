"""A stack file of what was found is written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from berth.facts import HostFacts
from berth.importing import Imported
from berth.inventory import CannotImport, Inventory
from berth.spec import SpecError

ROOT = Path(__file__).parents[1]


def found(content: dict[str, object]) -> Inventory:
    facts = HostFacts.model_validate_json((ROOT / "tests/facts/recorded/rtx5090-ubuntu2404.json").read_text())
    return Inventory("box", Imported(content=content, remarks={}), facts)


HOST = {"connection": "local", "gpus": [{"model": "rtx-5090"}]}
GOOD = {"hosts": {"box": HOST}, "models": {}, "gateway": {"host": "box", "port": 8000}}


def test_what_cannot_be_said_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError):
        found({"hosts": {}, "models": {}, "gateway": {"port": "x"}}).write(tmp_path / "box.yaml")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over_or_left_beside(tmp_path: Path) -> None:
    model = {"source": {"path": "/m"}, "engine": {"name": "vllm"}, "place": [{"host": "box", "gpus": [0]}]}
    inventory = found({**GOOD, "models": {"one": model}})
    inventory.write(tmp_path / "box.yaml")
    assert (tmp_path / "box.yaml").read_text().startswith("# yaml-language-server")
    (tmp_path / "mine.yaml").write_text("mine")
    with pytest.raises(CannotImport, match="is there already"):
        inventory.write(tmp_path / "mine.yaml")
    with pytest.raises(CannotImport, match="cannot be written"):
        inventory.write(tmp_path / "none" / "box.yaml")
    assert (tmp_path / "mine.yaml").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"box.yaml", "mine.yaml"}
