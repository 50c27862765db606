"""How a cluster is asked when it is away, or when nobody knows where it is."""

from __future__ import annotations

import pytest
import requests

from berth.provider.errors import BadInput, Unreachable
from berth.provider.kubernetes.api import Api, Refused
from tests.ports import free_port
from tests.provider.kubernetes.api_standin import answering
from tests.provider.kubernetes.api_standin import kubeconfig as leading_to


def kubeconfig() -> str:
    """One whose server is not there."""
    return leading_to(f"https://127.0.0.1:{free_port()}")


async def test_one_that_is_away_is_named_at_once() -> None:
    with pytest.raises(Unreachable, match=r"cluster k: https://127\.0\.0\.1:\d+: .*Connection refused") as caught:
        await Api("k", kubeconfig(), None).get("/version")
    assert "very secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["no: kubeconfig", "just text", "[", ""])
async def test_a_kubeconfig_that_is_none_is_named(text: str) -> None:
    with pytest.raises(BadInput, match=r"the secret kubeconfig of cluster k cannot be used: .+; correct it"):
        await Api("k", text, None).get("/version")


async def test_a_context_that_is_not_there_is_named() -> None:
    with pytest.raises(BadInput, match=r"cannot be used: .*production.*; correct it, or the context"):
        await Api("k", kubeconfig(), "production").get("/version")


async def test_without_a_kubeconfig_it_is_where_kubectl_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    with pytest.raises(BadInput, match=r"cluster k: kubectl's own configuration cannot be used: "):
        await Api("k", None, None).get("/version")


@pytest.mark.parametrize(("status", "error"), [(403, Refused), (500, Unreachable), (503, Unreachable)])
async def test_a_server_that_cannot_answer_counts_as_away(status: int, error: type[Exception]) -> None:
    """Whoever waits for a service goes on then: API servers are replaced one after the other."""
    with answering({"/version": {"message": "apiserver is shutting down"}}, status) as server:
        api = Api("k", server, None)
        with pytest.raises(error, match=r"cluster k: reading /version: .*apiserver is shutting down"):
            await api.get("/version")
        await api.close()


async def test_nobody_is_led_elsewhere_with_the_credentials_of_a_cluster() -> None:
    secrets = {"/secrets": {"data": "of the cluster"}}
    with answering(secrets, location={"/pod/v1/models": "/secrets"}) as server:
        api = Api("k", server, None)
        opened, url = await api.session()
        with opened() as http, pytest.raises(requests.RequestException, match=r"answered 302 and leads to /secrets"):
            http.get(f"{url}/pod/v1/models", timeout=10)
        with pytest.raises(Refused, match="the answer is 302"):
            await api.get("/pod/v1/models")
        await api.close()
