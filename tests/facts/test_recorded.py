"""The recorded machines can be read, say where they come from, and agree with the catalogue."""

from __future__ import annotations

import json

import pytest

from berth.catalogue import gpus
from berth.catalogue.units import Bytes
from berth.facts import HostFacts
from tests.facts.fixtures import FOLDER, MACHINES, recorded


@pytest.mark.parametrize("machine", MACHINES)
def test_a_recorded_machine(machine: str) -> None:
    said = json.loads((FOLDER / f"{machine}.json").read_text())
    assert said.pop("origin").endswith(".")
    assert set(said) <= set(HostFacts.model_fields), "a fact was renamed"
    facts = recorded(machine)
    assert len(facts.gpus) in {0, len(facts.pci_gpus)}
    for gpu in facts.gpus:
        row = gpus.find(gpu.name, Bytes(gpu.memory))
        assert gpus.same_size(row.memory, Bytes(gpu.memory))
        assert gpu.used < gpu.memory
