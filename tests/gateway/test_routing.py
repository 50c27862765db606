"""Which request reaches which model, and what the gateway answers by itself."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest

Make = Callable[..., Any]
Start = Callable[[str], Awaitable[Any]]

pytestmark = pytest.mark.envoy

SERVED = "served: tiny, gpt-x, org/tiny:1.5, org/big.v1:8b."


@pytest.fixture
async def two(gateway: Make, engines: Start, model_of: Make):
    """A gateway with two models, one with aliases and one whose name needs escaping."""
    one = gateway(model_of("tiny", "gpt-x", "org/tiny:1.5"), model_of("org/big.v1:8b"))
    one.serve("tiny@main", await engines("a"))
    one.serve("org/big.v1:8b@main", await engines("b"))
    return await one.start()


def content(answer: Any) -> str:
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"].split()[0]


@pytest.mark.parametrize(
    ("name", "engine"), [("tiny", "a"), ("gpt-x", "a"), ("org/tiny:1.5", "a"), ("org/big.v1:8b", "b")]
)
async def test_the_model_in_the_body_chooses_the_engine(two: Any, name: str, engine: str):
    assert content(await two.chat(name)) == engine


@pytest.mark.parametrize(
    ("path", "engine"),
    [
        ("/m/tiny/v1/chat/completions", "a"),
        ("/m/org/tiny:1.5/v1/completions", "a"),
        ("/m/org%2Ftiny%3A1.5/v1/completions?x=1", "a"),
        ("/m/org/big.v1:8b/v1/embeddings", "b"),
    ],
)
async def test_the_path_of_a_model_chooses_the_engine_and_is_cut_off(two: Any, path: str, engine: str):
    async with two.client() as client:
        answer = await client.post(path, json={"model": "anything"})
    assert content(answer) == engine


@pytest.mark.parametrize("path", ["audio/transcriptions", "audio/translations"])
async def test_forms_reach_a_model_by_its_path(two: Any, path: str):
    async with two.client() as client:
        answer = await client.post(f"/m/tiny/v1/{path}", files={"file": b"sound"}, data={"model": "tiny"})
    assert content(answer) == "a"


async def test_the_models_list_is_the_union_and_needs_no_engine(two: Any):
    two.serve("tiny@main")
    answer = await two.get("/v1/models")
    listed = answer.json()
    assert [entry["id"] for entry in listed["data"]] == ["tiny", "gpt-x", "org/tiny:1.5", "org/big.v1:8b"]
    assert listed["data"][1] == {
        "id": "gpt-x",
        "object": "model",
        "created": 1700000000,
        "owned_by": "berth",
        "root": "tiny",
        "parent": None,
        "max_model_len": 2048,
    }
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["org/big.v1:8b", "org%2Fbig.v1%3A8b", "org%2fbig.v1:8b"])
async def test_a_model_is_shown_by_its_id_escaped_or_not(two: Any, path: str):
    assert (await two.get(f"/v1/models/{path}")).json()["id"] == "org/big.v1:8b"


async def test_health_needs_no_key(two: Any):
    answer = await two.get("/health", key=None)
    assert answer.status_code == 200
    assert answer.json()["status"] == "unknown", "no watcher has looked"


@pytest.mark.parametrize("name", ["nope", 'quo"te%20\\', "tiny2", "tin", 5])
async def test_an_unknown_model_is_named_with_those_that_are_served(two: Any, name: str):
    answer = await two.chat(name)
    error = answer.json()["error"]
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert error["code"] == "model_not_found"
    assert error["message"] == f"The model {name} does not exist, or this API key may not use it; " + SERVED


@pytest.mark.parametrize("path", ["/v1/models/nope", "/m/nope/v1/completions", "/m/nope/v1/models", "/m/tiny/metrics"])
async def test_an_unknown_model_in_the_path_is_404_with_the_served_ones(two: Any, path: str):
    answer = await two.get(path)
    assert answer.status_code == 404
    assert "org/big.v1:8b" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/", "/metrics", "/v1", "/v1/", "/v1/load_lora_adapter", "/tokenize", "/invocations", "/docs", "/version",
        "/v1/completions/../load_lora_adapter", "/health/x", "/stats",
    ],
)  # fmt: skip
async def test_paths_that_are_not_openais_end_at_the_gateway(two: Any, path: str):
    async with two.client() as client:
        for method in ("GET", "POST"):
            answer = await client.request(method, path, json={"model": "tiny"})
            assert answer.status_code == 404
            assert answer.json()["error"]["code"] == "unknown_url"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid_json"),
        (b'{"model": "tiny"', "invalid_json"),
        (b"{}", "missing_model"),
        (b"[]", "missing_model"),
        (b'{"model": ""}', "missing_model"),
        (b'{"model": null}', "missing_model"),
        (b'{"model": {"a": 1}}', "missing_model"),
        (b"", "missing_model"),
    ],
)
async def test_a_body_without_a_model_is_400(two: Any, body: bytes, code: str):
    async with two.client() as client:
        answer = await client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json"])
async def test_json_under_its_other_names_is_read(two: Any, kind: str):
    async with two.client() as client:
        answer = await client.post("/v1/completions", content=b'{"model": "tiny"}', headers={"content-type": kind})
    assert answer.status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonl", ""])
async def test_another_content_type_is_415(two: Any, kind: str):
    async with two.client() as client:
        answer = await client.post("/v1/completions", content=b'{"model": "tiny"}', headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")


async def test_the_openai_package_lists_completes_streams_and_sees_its_own_errors(two: Any):
    async with openai.AsyncOpenAI(base_url=f"{two.url}/v1", api_key=two.keys["alice"], max_retries=0) as client:
        listed = [entry.id async for entry in await client.models.list()]
        assert listed == ["tiny", "gpt-x", "org/tiny:1.5", "org/big.v1:8b"]
        assert (await client.models.retrieve("org/big.v1:8b")).id == "org/big.v1:8b"
        messages = [{"role": "user", "content": "Hi"}]
        whole = await client.chat.completions.create(model="tiny", messages=messages)
        assert whole.choices[0].message.content.startswith("a ")
        stream = await client.chat.completions.create(model="gpt-x", messages=messages, stream=True)
        assert "".join([chunk.choices[0].delta.content async for chunk in stream]) == "a-0 a-1 a-2 a-3 a-4 "
        with pytest.raises(openai.NotFoundError, match="served: tiny") as unknown:
            await client.chat.completions.create(model="nope", messages=messages)
        assert unknown.value.code == "model_not_found"
    async with openai.AsyncOpenAI(base_url=f"{two.url}/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.models.list()
        assert refused.value.code == "invalid_api_key"


async def test_a_revision_can_be_asked_for_and_each_answer_says_which_gave_it(
    gateway: Make, engines: Start, model_of: Make
):
    one = gateway(model_of("tiny", main=100, dark=0))
    for revision in ("main", "dark"):
        one.serve(f"tiny@{revision}", await engines(revision))
    await one.start()
    async with one.client() as client:
        for path in ("/v1/completions", "/m/tiny/v1/completions"):
            for asked, served in (
                ({}, "main"),
                ({"x-berth-revision": "dark"}, "dark"),
                ({"x-berth-revision": "no"}, "main"),
            ):
                answer = await client.post(path, json={"model": "tiny"}, headers=asked)
                assert answer.json()["choices"][0]["text"] == served
                assert answer.headers["x-served-by"] == f"tiny@{served}"


async def test_a_revision_has_a_name_of_its_own(gateway: Make, engines: Start, model_of: Make):
    one = gateway(model_of("tiny", main=100, dark=0), model_of("org/sole", only=100))
    for name in ("tiny@main", "tiny@dark", "org/sole@only"):
        one.serve(name, await engines(name))
    await one.start()
    async with one.client() as client:
        for name in ("tiny@main", "tiny@dark", "org/sole@only"):
            for path in ("/v1/completions", f"/m/{name}/v1/completions"):
                answer = await client.post(path, json={"model": name}, headers={"x-berth-revision": "main"})
                assert (answer.status_code, answer.headers["x-served-by"]) == (200, name)
        assert (await client.post("/v1/completions", json={"model": "tiny@no"})).status_code == 404
        listed = [entry["id"] for entry in (await client.get("/v1/models")).json()["data"]]
        assert listed == ["tiny", "tiny@main", "tiny@dark", "org/sole"]
        assert (await client.get("/v1/models/tiny@dark")).json()["root"] == "tiny"


async def test_revisions_share_the_traffic_by_their_percent(gateway: Make, engines: Start, model_of: Make):
    one = gateway(model_of("tiny", main=75, next=25, dark=0))
    shares = {name: await engines(name) for name in ("main", "next", "dark")}
    for name, engine in shares.items():
        one.serve(f"tiny@{name}", engine)
    await one.start()
    async with one.client() as client:
        for _ in range(200):
            assert (await client.post("/v1/completions", json={"model": "tiny"})).status_code == 200
    counts = {name: len(engine.requests) for name, engine in shares.items()}
    # 200 draws at 1 in 4 lie within 50 +- 4 standard deviations (6.1) but once in 15 000 runs.
    assert counts["dark"] == 0
    assert 26 <= counts["next"] <= 74


async def test_models_whose_names_hold_regular_expressions_stay_apart(gateway: Make, engines: Start, model_of: Make):
    names = ("a.b", "aXb", "a(b", "a|b", "a+", "$")
    one = gateway(*(model_of(name) for name in names))
    for name in names:
        one.serve(f"{name}@main", await engines(name))
    await one.start()
    async with one.client() as client:
        for name in names:
            assert content(await one.chat(name)) == name
            path = f"/m/{name}/v1/completions"
            assert json.loads((await client.post(path, json={})).text)["choices"][0]["text"] == name
