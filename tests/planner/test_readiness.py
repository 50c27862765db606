"""Whether recorded machines, and small changes of them, have what is planned on them: each in one line."""

from __future__ import annotations

from typing import Any

import pytest

from berth.catalogue import gpus
from berth.facts import HostFacts
from berth.facts.model import CdiFile, PackageFact
from berth.planner.plan import Card, HostPlan, Local, Severity
from berth.planner.planning import plan
from berth.planner.readiness import Check, State, Subject, readiness
from berth.spec import loads
from tests.facts.fixtures import MACHINES, recorded

CARDS = {"rtx5090-ubuntu2404": ("rtx-5090", 1), "a40x2-pod": ("a40", 2), "v100-ubuntu2204": ("v100-16", 1)}


def subject(machine: str | HostFacts, *, runtime: Any = "docker", card: str = "", declares: str = "") -> Subject:
    facts = recorded(machine) if isinstance(machine, str) else machine
    kind, count = CARDS.get(machine if isinstance(machine, str) else card, ("", 0))
    cards = tuple(Card(index=n, model=kind, total=gpus.find(kind).memory) for n in range(count))
    host = HostPlan(
        name="box", connection=Local(), runtime=runtime, root="/b", cards=cards, declares=frozenset(declares.split())
    )
    return Subject(host=host, replicas=(), facts=facts)


def checks(*arguments: Any, **options: Any) -> dict[str, Check]:
    """The worst check of each thing."""
    found: dict[str, Check] = {}
    order = [State.OK, State.WARN, State.UNKNOWN, State.FAIL]
    for check in readiness(subject(*arguments, **options)):
        if check.about not in found or order.index(check.state) > order.index(found[check.about].state):
            found[check.about] = check
    return found


def driver(machine: str = "rtx5090-ubuntu2404", **values: Any) -> HostFacts:
    facts = recorded(machine)
    return facts.model_copy(update={"driver": facts.driver.model_copy(update=values)})


def docker(machine: str = "rtx5090-ubuntu2404", **values: Any) -> HostFacts:
    facts = recorded(machine)
    return facts.model_copy(update={"docker": facts.docker.model_copy(update=values)})


def test_a_machine_with_everything_is_ok():
    found = checks("rtx5090-ubuntu2404")
    assert {check.state for check in found.values()} == {State.OK}
    assert set(found) == {"system", "driver", "gpus", "docker", "container toolkit", "cdi"}


@pytest.mark.parametrize("machine", MACHINES)
def test_every_check_of_every_machine_says_what_to_do(machine: str):
    for check in readiness(subject(machine, declares="driver docker container_toolkit")):
        text = str(check)
        assert text == text.strip()
        assert check.state in {State.OK, State.UNKNOWN} or (check.must and check.todo), text


def test_a_machine_without_gpus_is_asked_for_nothing_that_gpus_need():
    assert set(checks("laptop", runtime="process")) == {"system", "root"}


ON_THE_5090 = {"card": "rtx5090-ubuntu2404"}


@pytest.mark.parametrize(
    ("facts", "about", "words"),
    [
        (driver(loaded=None), "driver", "580.95.05 is installed and nothing is loaded, must be loaded; reboot"),
        (driver(loaded=None, nouveau=("nouveau",)), "driver", "nouveau has the cards"),
        (driver(loaded=None, rejected=True), "driver", "Secure Boot has rejected its module"),
        (driver(loaded=None, dkms={"6.0": "installed"}), "driver", "has no module for kernel 6.8.0-86-generic"),
        (driver(loaded=None, installed=None), "driver", "no NVIDIA driver is installed, must be 570.86.16 or newer"),
        (driver(loaded="580.65.06"), "driver", "580.65.06 is loaded and 580.95.05 is on disk"),
        (driver(packages="580.105.08"), "driver", "the module 580.95.05 is loaded and its libraries are 580.105.08"),
        (driver(flavour="proprietary"), "driver", "of the open flavour for NVIDIA GeForce RTX 5090"),
        (
            driver(loaded="550.54.14", installed="550.54.14", packages="550.54.14"),
            "driver",
            "driver 550.54.14 does not know NVIDIA GeForce RTX 5090",
        ),
        (
            docker(client=None, version=None),
            "docker",
            "Docker is not installed, must be installed; install Docker 25.0",
        ),
        (docker(version=None), "docker", "Docker 28.5.1 is installed and its daemon does not answer"),
        (docker(version="24.0.7"), "docker", "Docker is 24.0.7, must be 25.0 or newer"),
        (docker(snap=True), "docker", "is a snap"),
        (docker(usable=False).model_copy(update={"root": False}), "docker", "does not let ubuntu in"),
        (docker(detected=False), "container toolkit", "came after Docker's daemon started"),
        (docker(runtimes=("runc",)), "container toolkit", "Docker's runtimes do not have nvidia"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_breakage_is_one_line(facts: HostFacts, about: str, words: str):
    check = checks(facts, **ON_THE_5090)[about]
    assert check.state in {State.FAIL, State.WARN}
    assert words in str(check)


@pytest.mark.parametrize(
    ("update", "about", "words"),
    [
        ({"toolkit": None}, "container toolkit", "is not installed"),
        ({"toolkit": "1.17.8"}, "container toolkit", "must be 1.18.0 or newer"),
        ({"cdi": ()}, "cdi", "no CDI file has nvidia.com/gpu"),
        (
            {"cdi": (CdiFile(path="/a", kind="nvidia.com/gpu"), CdiFile(path="/b", kind="nvidia.com/gpu"))},
            "cdi",
            "2 CDI",
        ),
        (
            {"cdi": (CdiFile(path="/a", kind="nvidia.com/gpu", driver="575.1"),)},
            "cdi",
            "/a is of driver 575.1 and 580.95.05 is loaded",
        ),
        ({"cdi": (CdiFile(path="/a", kind="nvidia.com/gpu", devices=("1",)),)}, "cdi", "/a lacks GPU 0"),
        ({"gpus": ()}, "gpus", "0 of the 1 NVIDIA GPUs on the bus answer"),
        ({"gpus": (), "pci_gpus": ()}, "gpus", "no NVIDIA GPU is on the machine's bus, must be 1 x rtx-5090"),
        ({"unread": {"gpus": "nvidia-smi: mismatch"}}, "gpus", "the driver does not answer (nvidia-smi: mismatch)"),
        ({"packages": {"x": PackageFact(version="1", state="half-configured")}}, "packages", "x are half installed"),
        ({"reboot_required": True}, "reboot", "waits for a reboot"),
        ({"unread": {"docker": "no rights"}, "docker": docker(version=None).docker}, "docker", "no rights"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_lack_is_one_line(update: dict[str, Any], about: str, words: str):
    check = checks(recorded("rtx5090-ubuntu2404").model_copy(update=update), **ON_THE_5090)[about]
    assert check.state is not State.OK
    assert words in str(check)


def test_what_is_declared_comes_with_up_and_what_a_pod_lacks_by_no_means():
    bare = recorded("debian13")
    assert "`pulumi up` brings it" in str(checks(bare, declares="docker")["docker"])
    assert "or declare hosts.box.prerequisites.docker" in str(checks(bare)["docker"])
    assert "choose a machine whose image or host has it" in str(checks("a40x2-pod")["docker"])


def test_root_may_use_docker_where_the_login_may_not():
    assert checks(docker(usable=False), **ON_THE_5090)["docker"].state is State.OK


def test_a_fabric_that_is_not_up_is_a_failure():
    assert checks("h100x8-nvswitch", declares="driver")["fabric manager"].state is State.OK
    check = checks(driver("h100x8-nvswitch", fabric="in progress"), declares="driver")["fabric manager"]
    assert (check.state, check.part) == (State.FAIL, "fabric_manager")
    assert "error 802" in str(check)
    bad = driver("h100x8-nvswitch", fabric="completed: Unknown Error")
    assert checks(bad, declares="driver")["fabric manager"].state is State.FAIL


def test_a_fabric_of_which_the_cards_say_nothing_is_what_its_service_is():
    silent = driver("h100x8-nvswitch", fabric="n/a")
    assert checks(silent, declares="driver")["fabric manager"].state is State.OK
    stopped = silent.model_copy(update={"units": {}})
    assert checks(stopped, declares="driver")["fabric manager"].state is State.FAIL


STACK = """
hosts:
  box:
    connection: {ssh: {host: box, host_key: ssh-ed25519 A}}
    gpus: [{model: rtx-5090}]
    runtime: docker
    prerequisites: {PARTS}
models:
  m:
    source: {hub: Qwen/Qwen2.5-3B-Instruct, revision: aa8e72537993ba99e69dfaafa59ed015b17504d1}
    engine: {name: vllm, version: 0.11.0}
    place: [{host: box}]
gateway: {host: box}
"""


def test_a_preview_says_all_that_is_missing_and_not_declared():
    bare = driver(loaded=None, installed=None, packages=None)
    bare = bare.model_copy(update={"toolkit": None, "docker": docker(client=None, version=None).docker, "gpus": ()})
    lines = [str(note) for note in plan(loads(STACK.replace("PARTS", "")), "x", facts={"box": bare}).refusals]
    assert [line.split(",")[0] for line in lines] == [
        "hosts.box: no NVIDIA driver is installed",
        "hosts.box: Docker is not installed",
        "hosts.box: the NVIDIA container toolkit is not installed",
    ]
    all_of_it = STACK.replace("PARTS", "driver: {}, docker: {}, container_toolkit: {}")
    assert plan(loads(all_of_it), "x", facts={"box": bare}).refusals == ()


def test_a_preview_warns_of_what_works_for_now():
    facts = recorded("rtx5090-ubuntu2404")
    sleeping = facts.model_copy(
        update={"gpus": tuple(gpu.model_copy(update={"persistence": False}) for gpu in facts.gpus)}
    )
    notes = plan(loads(STACK.replace("PARTS", "")), "x", facts={"box": sleeping}).notes
    assert any(note.severity is Severity.WARNING and "persistence mode of GPU 0 is off" in note.text for note in notes)
