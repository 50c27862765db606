"""The question for what runs: real processes on this machine, and answers of Docker in all its ways."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from berth.importing.engines import Found, cards, engines
from berth.running import SCRIPT, Look, parse
from tests.importing.composed import answer

UUIDS = ("GPU-aaa", "GPU-bbb")


def look(*arguments: str, **environment: str) -> Look:
    argv = ["sh", "-eu", "-c", SCRIPT, "berth", *(arguments or ("",))]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env={**os.environ, **environment})
    return parse(done.stdout)


def test_a_process_is_found_with_its_words_and_variables(tmp_path: Path) -> None:
    program = tmp_path / "vllm"
    program.write_text("import time; time.sleep(600)")
    name = f"serve/{tmp_path.name} with 'quotes'\n"
    argv = [sys.executable, str(program), "serve", name, "--port", "8123", "--max-model-len", "512"]
    with subprocess.Popen(argv, env={**os.environ, "VLLM_X": "a b"}) as process:
        try:
            deadline = time.monotonic() + 30
            while not (found := [one for one in engines(look()) if one.pid == process.pid]):
                assert time.monotonic() < deadline
        finally:
            process.kill()
    assert found[0].line.model == name
    assert found[0].line.flags == {"port": 8123, "max-model-len": 512}
    assert found[0].environment["VLLM_X"] == "a b"


def test_commits_of_the_login_s_own_cache_are_found(tmp_path: Path) -> None:
    refs = tmp_path / ".cache/huggingface/hub/models--Qwen--Qwen2.5-3B-Instruct/refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("a" * 40)
    assert look(HOME=str(tmp_path)).commits == {"Qwen/Qwen2.5-3B-Instruct": "a" * 40}


def test_an_answer_that_is_cut_off_is_none() -> None:
    with pytest.raises(ValueError, match="cut off"):
        parse(answer()[:-20])


def test_a_process_in_a_known_container_is_that_container() -> None:
    container = parse(answer()).containers[0]

    def coded(text: str) -> str:
        return "x" + base64.b64encode(text.encode()).decode()

    words, above = "vllm\0serve\0m\0", "/bin/sh\0/x/dev/services/tiny-main-0/run\0"
    rows = [
        f"10 1 {coded(words)} x {coded('0::/docker/' + container.id)} x",
        f"20 1 {coded(words)} x {coded('0::/user.slice')} x",
        f"21 20 {coded(words)} x {coded('0::/user.slice')} x",
        f"30 1 {coded(words)} x {coded('0::/system.slice/berth-dev-123456-tiny-main-0.service')} x",
        f"40 1 {coded(words)} x {coded('0::/user.slice')} {coded(above)}",
    ]
    found = list(engines(parse(answer().replace("berth processes\n", "berth processes\n" + "\n".join(rows)))))
    assert [one.called for one in found] == ["container tinyllama", "container qwen", "container yi", "process 20"]


def given(**host: Any) -> Found:
    environment = host.pop("environment", {})
    said = json.loads(answer().split("berth containers\n")[1].split("\n\x1e")[0])[-1]
    said["HostConfig"] |= {"DeviceRequests": None, **host}
    said["Config"]["Env"] = [f"{key}={value}" for key, value in environment.items()]
    text = answer().split("berth images")[0].split("berth containers")[0]
    (container,) = parse(f"{text}berth containers\n{json.dumps([said])}\n\n\x1eberth end\n").containers
    (found,) = engines(Look(containers=(container,)))
    return found


NVIDIA = {"Driver": "nvidia", "Count": 0, "DeviceIDs": None, "Capabilities": [["gpu"]]}


@pytest.mark.parametrize(
    ("host", "indices"),
    [
        ({"DeviceRequests": [{**NVIDIA, "Count": -1}]}, (0, 1)),
        ({"DeviceRequests": [{**NVIDIA, "Count": 1}]}, (0,)),
        ({"DeviceRequests": [{**NVIDIA, "DeviceIDs": ["1"]}]}, (1,)),
        ({"DeviceRequests": [{**NVIDIA, "DeviceIDs": ["GPU-bbb"]}]}, (1,)),
        ({"DeviceRequests": [{"Driver": "cdi", "Count": 0, "DeviceIDs": ["nvidia.com/gpu=1"]}]}, (1,)),
        ({"DeviceRequests": [{"Driver": "cdi", "Count": 0, "DeviceIDs": ["nvidia.com/gpu=all"]}]}, (0, 1)),
        ({"Runtime": "nvidia", "environment": {"NVIDIA_VISIBLE_DEVICES": "1"}}, (1,)),
        ({"DeviceRequests": [{**NVIDIA, "Count": -1}], "environment": {"CUDA_VISIBLE_DEVICES": "1"}}, (1,)),
        ({"DeviceRequests": [{**NVIDIA, "DeviceIDs": ["1"]}], "environment": {"CUDA_VISIBLE_DEVICES": "0"}}, (1,)),
        ({}, ()),
    ],
)
def test_the_cards_that_a_container_was_given(host: dict[str, Any], indices: tuple[int, ...]) -> None:
    assert cards(given(**host), UUIDS, {}) == indices


def test_of_all_cards_those_count_that_it_holds_memory_of() -> None:
    found = given(DeviceRequests=[{**NVIDIA, "Count": -1}])
    assert cards(found, UUIDS, {found.pid: ["GPU-bbb"]}) == (1,)
