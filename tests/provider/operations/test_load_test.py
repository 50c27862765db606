"""The load proof against a stand-in gateway: what it measures, and what it says of what is not reached."""

from __future__ import annotations

from typing import Any

import pytest

from berth.provider.errors import ProviderError
from berth.provider.host import Host
from berth.provider.operations.load_test import LoadTest, LoadTestWant
from tests.provider.operations.gateway_standin import TOKEN, Gateway


def load(gateway: Gateway, **asked: Any) -> LoadTestWant:
    models = {"one": {"n": 20, "c": 5, "prompt": "안녕", "timeout_s": 5, **asked}}
    return LoadTestWant.model_validate(
        {"host": "box", "port": gateway.server_address[1], "key": TOKEN, "models": models}
    )


async def test_every_request_is_counted_and_measured(host: Host, gateway: Gateway) -> None:
    found = (await LoadTest().outputs(host, load(gateway)))["results"]["one"]
    assert (found["requests"], found["answered"], found["failures"]) == (20, 20, [])
    assert 0 < found["ttft_ms_median"] <= found["ttft_ms_p95"]
    assert found["tokens_per_s"] > 60 / (found["took_s"] + 0.1)


async def test_too_few_answers_fail_with_their_reason(host: Host, gateway: Gateway) -> None:
    gateway.fault = "refuses every other"
    with pytest.raises(ProviderError) as caught:
        await LoadTest().outputs(host, load(gateway, success=0.98))
    assert str(caught.value).startswith("load test of one: 50.0% of 20 requests answered, must be 98.0%: 10 times: ")
    assert "answered 429" in str(caught.value)


async def test_a_share_that_is_declared_enough_passes(host: Host, gateway: Gateway) -> None:
    gateway.fault = "refuses every other"
    found = (await LoadTest().outputs(host, load(gateway, success=0.5)))["results"]["one"]
    assert found["answered"] == 10


async def test_a_stream_that_breaks_off_is_a_failure_and_no_traceback(host: Host, gateway: Gateway) -> None:
    gateway.fault = "breaks off"
    with pytest.raises(ProviderError, match=r"0\.0% of 20 requests answered.*the stream broke off"):
        await LoadTest().outputs(host, load(gateway))


async def test_slowness_is_named_with_what_must_be(host: Host, gateway: Gateway) -> None:
    with pytest.raises(ProviderError) as caught:
        await LoadTest().outputs(host, load(gateway, ttft_ms=0.001, tokens_per_s=1e9))
    first, second = str(caught.value).splitlines()
    assert first.endswith("ms (p95), must be 0.001 or less")
    assert second.endswith("tokens per second, must be 1e+09 or more")


async def test_what_is_not_asked_in_time_counts_as_not_answered(host: Host, gateway: Gateway) -> None:
    with pytest.raises(ProviderError, match="20 times: not asked within the 0 s for all"):
        await LoadTest().outputs(host, load(gateway, within_s=0))
