"""What a host is made ready with, in every format: what is declared, and what that comes to once it was seen."""

from __future__ import annotations

import json
from dataclasses import replace

from rich.console import Console

from berth.planner.plan import Note, Plan, Severity
from berth.planner.plan.prerequisites import DockerPlan, DriverPlan, PackagesPlan, PrerequisitesPlan, ToolkitPlan
from berth.report.document import to_json
from berth.report.lines import lines
from berth.report.markdown import to_markdown
from berth.report.terminal import show
from tests.report import plans

DRIVER = DriverPlan(
    branch=580,
    version=None,
    flavour="open",
    packages=("nvidia-driver-cuda",),
    pinning=None,
    stream=None,
    headers=(),
    kernel="6.12",
    initramfs="update-initramfs",
)
WORDS = "driver 580 (open modules), docker-ce, container toolkit, 2 kernel settings, 1 account"


def prepared(made: PrerequisitesPlan | None, *declares: str) -> Plan:
    plan = plans.three()
    hosts = {name: replace(host, declares=frozenset(declares), prerequisites=made) for name, host in plan.hosts.items()}
    return replace(plan, hosts=hosts)


def everything() -> Plan:
    toolkit = PackagesPlan(name="container-toolkit", packages={"nvidia-container-toolkit": "1.18.0-*"})
    made = PrerequisitesPlan(
        manager="apt",
        driver=DRIVER,
        docker=DockerPlan(packages=PackagesPlan(name="docker", packages={"docker-ce": "any", "docker.io": "absent"})),
        toolkit=ToolkitPlan(packages=toolkit, refreshed_by="unit"),
        sysctl={"a.b": "1", "a.c": "2"},
        users={"anna": ("docker",)},
    )
    return prepared(made, "driver", "docker", "container_toolkit", "sysctl", "users")


def test_every_format_says_what_a_host_is_made_ready_with() -> None:
    plan = everything()
    console = Console(width=120, color_system=None)
    with console.capture() as captured:
        show(plan, console)
    assert f"box is made ready with {WORDS}" in lines(plan)
    assert f"is made ready with {WORDS}" in captured.get()
    assert f", is made ready with {WORDS}" in to_markdown(plan)


def test_a_refused_plan_makes_nothing_ready() -> None:
    refused = replace(everything(), notes=(Note(severity=Severity.REFUSAL, where="hosts.box", text="cannot be"),))
    assert not any("made ready" in line for line in lines(refused))
    assert "made ready" not in to_markdown(refused)


def test_programs_get_names_and_versions() -> None:
    (host,) = json.loads(to_json(everything()))["hosts"]
    assert host["declares"] == ["container_toolkit", "docker", "driver", "sysctl", "users"]
    made = host["prerequisites"]
    assert made["driver"] == {"wanted": "580", "flavour": "open", "packages": ["nvidia-driver-cuda"]}
    assert made["docker"] == {"docker-ce": "any", "docker.io": "absent"}
    assert (made["sysctl"], made["users"]) == ({"a.b": "1", "a.c": "2"}, {"anna": ["docker"]})


def test_before_the_machine_was_seen_the_parts_alone_are_named() -> None:
    assert "box is made ready with container toolkit, driver" in lines(prepared(None, "driver", "container_toolkit"))
    assert not any("made ready" in line for line in lines(prepared(None)))
