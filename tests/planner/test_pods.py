"""What the plan says of rented pods: what a reset takes, whose door is in front of it, what cannot be changed in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.facts import HostFacts
from berth.facts.model import Disk
from berth.planner.planning import plan
from berth.planner.pods import volume
from berth.spec import loads
from tests.facts.fixtures import recorded

STACK = yaml.safe_load((Path(__file__).parents[2] / "stacks/a40x2-tp2.yaml").read_text())
POD = recorded("a40x2-pod")
GIB = 2**30


def said(facts: HostFacts | None = POD, **changes: dict[str, Any]) -> dict[str, list[str]]:
    """What is said in the plan of the pod with parts changed: `pod`, `llama` and `gateway`."""
    parts = {"pod": STACK["hosts"]["pod"], "llama": STACK["models"]["llama"], "gateway": STACK["gateway"]}
    pod, llama, gateway = ({**part, **changes.get(name, {})} for name, part in parts.items())
    stack = {"hosts": {"pod": pod}, "models": {"llama": llama}, "gateway": gateway}
    decided = plan(loads(yaml.safe_dump(stack)), "x", facts={} if facts is None else {"pod": facts})
    notes: dict[str, list[str]] = {}
    for note in decided.notes:
        notes.setdefault(note.where, []).append(f"{note.severity}: {note.text}")
    return notes


@pytest.mark.parametrize(
    ("path", "mount"),
    [
        ("/workspace/berth", "/workspace"),
        ("/workspace", "/workspace"),
        ("/workspaces/berth", None),
        ("~/berth", None),
        ("berth", None),
        ("/dev/shm/berth", None),
    ],
)
def test_the_volume_of_a_folder(path: str, mount: str | None) -> None:
    found = volume(path, POD)
    assert (found.mount if found is not None else None) == mount


def test_a_home_on_a_volume_is_as_good() -> None:
    home = POD.model_copy(update={"home": "/workspace/home"})
    assert volume("~/.local/share/berth", home) is not None


def test_what_a_reset_would_take_is_said_before() -> None:
    lora = {"adapters": [{"name": "french", "source": {"path": "/adapters/french"}}]}
    found = said(pod={"root": "~/.local/share/berth", "cache": "/root/.cache/huggingface"}, llama={"lora": lora})
    (root,) = found["hosts.pod.root"]
    assert "which a stop, a reset or an edit of the pod empties" in root
    assert "write a folder of /workspace (180 GiB free)" in root
    assert found["hosts.pod.cache"][0].startswith("warning: is /root/.cache/huggingface")
    assert "/adapters/french" in found["models.llama.lora.adapters[0].source.path"][0]


def test_a_pod_without_any_volume() -> None:
    licence = Disk(mount="/opt/licence", size=4096, free=0)
    found = said(POD.model_copy(update={"disks": (POD.disks[0], licence)}))
    assert found["hosts.pod.root"][0].endswith("it has none: rent it with one")


def test_a_root_on_the_volume_or_on_a_machine_of_ones_own_or_unknown_is_nothing_to_be_told_of() -> None:
    at_home = {"root": "~/.local/share/berth"}
    assert "hosts.pod.root" not in said()
    assert "hosts.pod.root" not in said(POD.model_copy(update={"container": None}), pod=at_home)
    assert "hosts.pod.root" not in said(None, pod=at_home)
    assert "hosts.pod.root" not in said(pod={**at_home, "connection": "local"})


@pytest.mark.parametrize(
    ("gateway", "where", "words"),
    [
        ({}, "gateway.url", "note: is RunPod's proxy, which answers 524 where nothing has come for 100 s"),
        ({"url": "https://podid-8888.proxy.runpod.net"}, "gateway.url", "leads to port 8888, must lead to 8000"),
        ({"bind": "127.0.0.1"}, "gateway.bind", "refusal: is 127.0.0.1, where RunPod's proxy does not reach it"),
        ({"hold_limit": "2m"}, "gateway.hold_limit", "warning: is 120 s and RunPod's proxy waits 100"),
    ],
)
def test_the_door_in_front_of_the_gateway(gateway: dict[str, Any], where: str, words: str) -> None:
    assert any(words in note for note in said(gateway=gateway)[where])


def test_another_address_says_nothing_of_a_proxy() -> None:
    assert "gateway.url" not in said(gateway={"url": "https://llm.example.org", "hold_limit": "10m"})


@pytest.mark.parametrize(("size", "told"), [(64 * 2**20, True), (8 * GIB, False)])
def test_shared_memory_that_cards_need_to_talk(size: int, told: bool) -> None:
    disks = (*POD.disks[:2], Disk(mount="/dev/shm", size=size, free=size))
    assert ("hosts.pod" in said(POD.model_copy(update={"disks": disks}))) is told


def test_a_driver_that_cannot_be_changed_is_told_of_with_what_runs_on_it() -> None:
    where = "models.llama on NVIDIA A40"
    (refused,) = said(llama={"engine": {"name": "vllm", "version": "0.32.0"}})[where]
    assert refused.startswith("refusal: the driver is 570.124.6 and vllm 0.32.0 is built with CUDA 13.0")
    assert "it cannot be changed in a container, rent one on a machine that has it" in refused
    instead = refused.rpartition(", or use vllm ")[2]
    assert where not in said(llama={"engine": {"name": "vllm", "version": instead}})
    machine = POD.model_copy(update={"container": None})
    (refused,) = said(machine, llama={"engine": {"name": "vllm", "version": "0.32.0"}})[where]
    assert refused.endswith("install that branch")
