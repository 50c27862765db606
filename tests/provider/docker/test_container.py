"""The script that makes a container: what it says of each part, and that no value becomes shell."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path
from typing import Any

import pytest

from berth.provider.docker.container import Container, Mount, create_script

HOSTILE = "x'; touch /tmp/owned; $(touch /tmp/owned) `id` \"\\, é\n y"


def created(tmp_path: Path, container: Container, command: list[str], **more: Any) -> list[str]:
    """What the script gives to `docker`, by a stand-in that writes down its arguments."""
    stub = tmp_path / "docker"
    stub.write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\0" "$word"; done\n')
    stub.chmod(0o755)
    script = create_script("it", container, command, **more)
    done = subprocess.run(
        ["sh", "-c", script, "create", "--label", "dev.berth.definition=d"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split("\0")[:-1]


def pairs(words: list[str]) -> set[tuple[str, str]]:
    return set(itertools.pairwise(words))


def test_an_engine_is_made_with_all_that_it_needs(tmp_path: Path) -> None:
    container = Container(
        image="vllm/vllm-openai:v0.11.0",
        port=8001,
        inside=8000,
        gpus=(0, 3),
        access="cdi",
        mounts=(Mount(source="/cache", target="/cache"),),
        shared_memory=2**30,
        memory=2**34,
        cpus=4,
        labels={"dev.berth.model": "qwen"},
    )
    words = created(tmp_path, container, ["/bin/sh", "/f/run"], health=("python3", "-c", "a b"), stop_timeout_s=40)
    assert words[:4] == ["create", "--name", "it", "--restart"]
    assert words[-4:] == ["--entrypoint", "/bin/sh", "vllm/vllm-openai:v0.11.0", "/f/run"]
    assert {
        ("--restart", "unless-stopped"),
        ("--publish", "127.0.0.1:8001:8000"),
        ("--device", "nvidia.com/gpu=0"),
        ("--device", "nvidia.com/gpu=3"),
        ("--mount", "type=bind,source=/cache,target=/cache,readonly"),
        ("--shm-size", "1073741824"),
        ("--security-opt", "no-new-privileges"),
        ("--memory", "17179869184"),
        ("--cpus", "4"),
        ("--label", "dev.berth.model=qwen"),
        ("--label", "dev.berth.definition=d"),
        ("--log-opt", "max-size=50m"),
        ("--log-opt", "max-file=4"),
        ("--health-cmd", "python3 -c 'a b'"),
        ("--health-interval", "30s"),
        ("--health-timeout", "10s"),
        ("--health-retries", "5"),
        ("--stop-timeout", "40"),
        ("--entrypoint", "/bin/sh"),
    } <= pairs(words)


def test_the_runtime_of_the_toolkit_is_told_the_cards_by_a_variable(tmp_path: Path) -> None:
    words = created(tmp_path, Container(image="i", gpus=(1, 2), access="runtime"), ["x"])
    assert {("--runtime", "nvidia"), ("--env", "NVIDIA_VISIBLE_DEVICES=1,2")} <= pairs(words)
    assert "--device" not in words


def test_on_the_hosts_network_nothing_is_published(tmp_path: Path) -> None:
    words = created(tmp_path, Container(image="i", network="host", port=80, inside=80), ["x"])
    assert ("--network", "host") in pairs(words)
    assert "--publish" not in words


def test_an_address_of_ipv6_is_in_brackets(tmp_path: Path) -> None:
    words = created(tmp_path, Container(image="i", address="::1", port=80, inside=81), ["x"])
    assert ("--publish", "[::1]:80:81") in pairs(words)


@pytest.mark.parametrize("spoil", ["name", "source", "label", "command", "image"])
def test_no_value_becomes_shell(tmp_path: Path, spoil: str) -> None:
    container = Container(
        image=HOSTILE if spoil == "image" else "i",
        mounts=(Mount(source=HOSTILE if spoil == "source" else "/a", target="/b"),),
        labels={"a": HOSTILE if spoil == "label" else "b"},
    )
    words = created(tmp_path, container, ["x", HOSTILE if spoil == "command" else "y"])
    assert not Path("/tmp/owned").exists()
    if spoil == "source":
        (mount,) = (after for before, after in pairs(words) if before == "--mount")
        assert mount == 'type=bind,"source=' + HOSTILE.replace('"', '""') + '",target=/b,readonly'
    elif spoil != "name":
        assert any(HOSTILE in word for word in words)
