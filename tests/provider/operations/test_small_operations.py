"""Keys, readiness and the smoke test, against a small server of this test."""

from __future__ import annotations

import base64
import re
import time
from typing import Any

import pytest

from berth.provider.errors import ProviderError, StartFailed
from berth.provider.host import Host
from berth.provider.operations.key import Key, KeyWant
from berth.provider.operations.ready import Ready, ReadyWant
from berth.provider.operations.smoke_test import SmokeTest, SmokeTestWant
from tests.ports import free_port
from tests.provider.operations.gateway_standin import TOKEN, Gateway
from tests.provider.operations.site import PROCESS, Site


def smoke(gateway: Gateway, **more: Any) -> SmokeTestWant:
    prompts = {"one": ["Hello", "안녕"], "two": ["Hello"]}
    want = {"host": "box", "port": gateway.server_address[1], "key": TOKEN, "prompts": prompts, "timeout_s": 5, **more}
    return SmokeTestWant.model_validate(want)


async def test_every_model_is_asked_for_its_place_in_the_list_an_answer_and_a_stream(
    host: Host, gateway: Gateway
) -> None:
    results = (await SmokeTest().outputs(host, smoke(gateway)))["results"]
    assert {name: result["completion_tokens"] for name, result in results.items()} == {"one": 4, "two": 2}
    assert all(result["streamed_tokens"] == 3 for result in results.values())
    assert all(0 < result["ttft_ms"] <= result["stream_ms"] for result in results.values())


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("empty", "smoke test of one: POST /v1/completions answered without a token: {"),
        ("no done", "smoke test of two: the stream of POST /v1/chat/completions ended without [DONE]"),
    ],
)
async def test_an_answer_that_is_not_whole_fails_and_is_named(
    host: Host, gateway: Gateway, fault: str, problem: str
) -> None:
    gateway.fault = fault
    with pytest.raises(ProviderError) as caught:
        await SmokeTest().outputs(host, smoke(gateway))
    assert problem in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("fault", "asks", "problem"),
    [
        ("no JSON: /v1/models", "text", "GET /v1/models answered '<html>hello', must be an object of JSON; see "),
        ("a list: /v1/models", "text", "GET /v1/models answered '[]', must be an object of JSON; see "),
        ("no data: /v1/models", "text", 'GET /v1/models answered {"object": "list"}, must have a list of objects as'),
        ("no JSON: /v1/completions", "text", "POST /v1/completions answered '<html>hello', must be"),
        ("no data: /v1/embeddings", "embedding", 'POST /v1/embeddings answered {"object": "list"}, must have'),
        ("no data: /v1/score", "score", 'POST /v1/score answered {"object": "list"}, must have'),
        ("no JSON: /v1/chat/completions", "image", "stream of POST /v1/chat/completions answered '<html>hello', must"),
    ],
)
async def test_an_answer_of_another_shape_is_shown_with_what_it_must_be(
    host: Host, gateway: Gateway, fault: str, asks: str, problem: str
) -> None:
    gateway.fault = fault
    with pytest.raises(ProviderError, match=re.escape(problem)):
        await SmokeTest().outputs(host, smoke(gateway, prompts={"one": ["Hello", "안녕"]}, asks={"one": asks}))


async def test_models_of_other_tasks_are_asked_for_what_they_answer(host: Host, gateway: Gateway) -> None:
    gateway.models = ("vectors", "judge", "eyes", "ears")
    asks = {"vectors": "embedding", "judge": "score", "eyes": "image", "ears": "list"}
    want = smoke(gateway, prompts={name: ["Hello", "안녕"] for name in asks}, asks=asks)
    results = (await SmokeTest().outputs(host, want))["results"]
    assert (results["vectors"], results["judge"], results["ears"]) == (
        {"dimensions": 8},
        {"scores": 2},
        {"listed": True},
    )
    assert results["eyes"]["streamed_tokens"] == 3
    image, text = next(body for body in gateway.bodies if body["model"] == "eyes")["messages"][0]["content"]
    assert base64.b64decode(image["image_url"]["url"].removeprefix("data:image/png;base64,"))[1:4] == b"PNG"
    assert text["text"] == "Hello"


@pytest.mark.parametrize(("asked", "problem"), [("embedding", "without vectors of one size"), ("score", "a score for")])
async def test_an_answer_that_is_no_vector_or_score_is_named(
    host: Host, gateway: Gateway, asked: str, problem: str
) -> None:
    gateway.fault = "x"
    with pytest.raises(ProviderError, match=problem):
        await SmokeTest().outputs(host, smoke(gateway, prompts={"one": ["Hello", "안녕"]}, asks={"one": asked}))


async def test_a_model_that_is_not_listed_is_named_and_the_others_are_not(host: Host, gateway: Gateway) -> None:
    gateway.models = ("two", "three")
    with pytest.raises(ProviderError) as caught:
        await SmokeTest().outputs(host, smoke(gateway))
    assert str(caught.value) == "smoke test of one: GET /v1/models does not list it; it lists two, three"


async def test_a_wrong_key_is_told_without_the_key(host: Host, gateway: Gateway) -> None:
    with pytest.raises(ProviderError) as caught:
        await SmokeTest().outputs(host, smoke(gateway, key="sk-wrong"))
    assert "GET /v1/models answered 401: " in str(caught.value)
    assert "sk-wrong" not in str(caught.value)


async def test_a_gateway_that_is_not_there_is_told(host: Host, gateway: Gateway) -> None:
    with pytest.raises(ProviderError, match="GET /v1/models got no answer"):
        await SmokeTest().outputs(host, smoke(gateway, port=free_port()))


async def test_a_proof_stands_until_what_it_proved_changes(host: Host, gateway: Gateway) -> None:
    want = smoke(gateway, after={"pids": [1, 2]})
    seen = await SmokeTest().observe(host, want)
    assert SmokeTest().differing(want, seen) == []
    assert SmokeTest().differing(want.model_copy(update={"after": {"pids": [1, 3]}}), seen) == ["after.pids[1]"]


async def test_a_key_is_long_new_each_time_and_nothing_on_the_host(host: Host, said: list[str]) -> None:
    want = KeyWant(host="box", name="default")
    values = [(await Key().outputs(host, want))["value"] for _ in range(2)]
    assert values[0] != values[1]
    assert all(value.startswith("sk-") and len(value) == 46 for value in values)
    assert await Key().converge(host, want, want) == want
    assert said == []
    assert Key().steps(want, None) == Key().steps(None, want) == []


async def test_ready_is_proved_by_an_answer(host: Host, gateway: Gateway) -> None:
    want = ReadyWant(host="box", name="gateway", port=gateway.server_address[1], path="/health", status=401)
    assert await Ready().converge(host, want, want) == want
    wrong = want.model_copy(update={"status": 200})
    assert Ready().differing(wrong, await Ready().observe(host, wrong)) == ["state"]


async def test_waiting_says_for_what_and_ends_after_its_time(host: Host, said: list[str]) -> None:
    port = free_port()
    want = ReadyWant(host="box", name="gateway", port=port, path="/ready", timeout_s=1)
    with pytest.raises(StartFailed) as caught:
        await Ready().converge(host, want, want)
    assert str(caught.value) == f"gateway on box: port {port}/ready did not answer 200 within 1 s"
    assert said[0] == f"waiting for /ready of gateway on port {port}, 0 of 1 s"


async def test_waiting_ends_at_once_when_the_process_behind_it_dies(supervised: Site) -> None:
    process = supervised.process(argv=["sh", "-c", "echo bye; sleep 1; exit 3"], restart="never")
    await PROCESS.converge(supervised.host, process, process)
    want = ReadyWant(
        host="box",
        name="it",
        port=free_port(),
        path="/",
        timeout_s=60,
        folder=process.folder,
        log=process.log,
    )
    began = time.monotonic()
    with pytest.raises(StartFailed) as caught:
        await Ready().converge(supervised.host, want, want)
    assert time.monotonic() - began < 10
    assert str(caught.value).startswith("it on box: no process runs\nits last lines (all of them are in ")
    assert "bye" in str(caught.value)
