"""The API of one cluster through the official client: objects by their paths, as the plain JSON of the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import requests
import urllib3
import yaml
from requests.adapters import HTTPAdapter

from berth.provider.errors import BadInput, ProviderError, Unreachable

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

_JSON = "application/json"
_CONNECT_S = 8
_ANSWER_S = 30
_BROKEN = 500  # from here on it could not answer, as while it is replaced
_LATER = 429  # a server under load says it, and of kinds that it has only just been given
_PATIENCE_S = 20
_CONNECTIONS = 64  # are kept for the next question; a load test asks so many at a time or fewer
_NO_ACCESS = {401: "its credentials are not accepted; renew them", 403: "they may not"}


class Refused(ProviderError):
    """The API server answered, and did not do it. `status` is of HTTP."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """A cluster as a kubeconfig names it; without one, as kubectl finds it. Opened at the first question."""

    def __init__(self, name: str, kubeconfig: str | None, context: str | None) -> None:
        self._name = name
        self._kubeconfig = kubeconfig
        self._context = context
        self._client: ApiClient | None = None

    async def get(self, path: str, *, accept: str = _JSON, **query: str) -> dict[str, Any] | None:
        """An object or a list; None where there is none.

        Raises:
            BadInput: the kubeconfig is none, or has no such context.
            Refused: the API server did not do it.
            Unreachable: it did not answer, or could not.
        """
        status, body = await asyncio.to_thread(self._ask, path, query, accept)
        for _ in range(_PATIENCE_S):
            if status != _LATER:
                break
            await asyncio.sleep(1)
            status, body = await asyncio.to_thread(self._ask, path, query, accept)
        if status == 404:
            return None
        if status >= _BROKEN:
            raise Unreachable(f"cluster {self._name}: reading {path}: {_said(status, body)}")
        if status != 200:
            raise Refused(f"cluster {self._name}: reading {path}: {_said(status, body)}", status)
        found: dict[str, Any] = json.loads(body)
        return found

    async def send(self, method: str, path: str, body: Any, *, kind: str = _JSON, **query: str) -> dict[str, Any]:
        """Changes or makes an object; gives it as it is then.

        Raises:
            Refused: the API server did not do it.
            Unreachable: it did not answer, or could not.
        """
        status, answer = await asyncio.to_thread(self._ask, path, query, method=method, body=body, kind=kind)
        if status >= _BROKEN:
            raise Unreachable(f"cluster {self._name}: changing {path}: {_said(status, answer)}")
        if status not in {200, 201}:
            raise Refused(f"cluster {self._name}: changing {path}: {_said(status, answer)}", status)
        found: dict[str, Any] = json.loads(answer)
        return found

    async def items(self, path: str, *, accept: str = _JSON, **query: str) -> list[dict[str, Any]]:
        """The objects of a list; none where there is no such list."""
        found = await self.get(path, accept=accept, **query)
        return list((found or {}).get("items") or ())

    async def text(self, path: str, **query: str) -> str:
        """What is no object, such as a log; empty where there is none.

        Raises:
            Unreachable: the API server did not answer.
        """
        status, body = await asyncio.to_thread(self._ask, path, query)
        return body.decode(errors="replace") if status == 200 else ""

    async def session(self) -> tuple[Callable[[], requests.Session], str]:
        """What opens sessions to the API server as its client is let in, and the server's address.

        Raises:
            BadInput: as `get` does.
        """
        client = await asyncio.to_thread(self._open)
        return lambda: _session(client), str(client.configuration.host)

    async def close(self) -> None:
        """Ends the connections; the next question opens others."""
        if self._client is not None:
            self._client.rest_client.close()
            self._client = None

    def _ask(
        self,
        path: str,
        query: Mapping[str, str],
        accept: str = _JSON,
        *,
        method: str = "GET",
        body: Any = None,
        kind: str = _JSON,
    ) -> tuple[int, bytes]:
        client = self._open()
        asked = client.param_serialize(
            method=method,
            resource_path=path,
            query_params=list(query.items()),
            header_params={"Accept": accept, **({"Content-Type": kind} if body is not None else {})},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = client.call_api(*asked, _request_timeout=(_CONNECT_S, _ANSWER_S))
            content: bytes = answer.read()  # type: ignore[no-untyped-call] # the client's own types end here
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"cluster {self._name}: {client.configuration.host}: {_why(error)}") from error
        return answer.status, content

    def _open(self) -> ApiClient:
        if self._client is None:
            self._client = _client(self._name, self._kubeconfig, self._context)
        return self._client


class _Pools(HTTPAdapter):
    """Sends through the client's own connections, which know its certificates and its proxy."""

    def __init__(self, client: ApiClient) -> None:
        super().__init__()
        self.poolmanager = client.rest_client.pool_manager

    def cert_verify(self, *_: object) -> None:
        """The connections have it from the client."""

    def build_connection_pool_key_attributes(self, request: requests.PreparedRequest, *_: Any) -> Any:
        """Where to; all else the connections have from the client."""
        found = urllib3.util.parse_url(str(request.url))
        return {"scheme": found.scheme, "host": found.host, "port": found.port}, {}


class _Direct(requests.Session):
    """Follows nobody elsewhere: what runs in a pod could send its asker, who is let in, to secrets of the cluster."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """None for an answer.

        Raises:
            requests.TooManyRedirects: it leads elsewhere.
        """
        found = super().get_redirect_target(resp)
        if found is not None:
            resp.close()
            raise requests.TooManyRedirects(
                f"{resp.url} answered {resp.status_code} and leads to {found}, must answer itself: through an API "
                "server no redirect is followed",
                response=resp,
            )
        return None


def _session(client: ApiClient) -> requests.Session:
    def let_in(request: requests.PreparedRequest) -> requests.PreparedRequest:
        client.update_params_for_auth(request.headers, [], ["BearerToken"], request.url, request.method, request.body)
        return request

    made = _Direct()
    made.trust_env = False  # the client has read what there is of a proxy
    made.auth = let_in
    # Where it is used again, an API server cuts an answer short now and then (1 to 4 of 100 streams of a fast engine:
    # "httputil: ReverseProxy read error during body copy: use of closed network connection").
    made.headers["Connection"] = "close"
    made.mount("https://", _Pools(client))
    made.mount("http://", _Pools(client))
    return made


def _client(name: str, kubeconfig: str | None, context: str | None) -> ApiClient:
    from kubernetes import config  # noqa: PLC0415 -- only stacks with clusters pay for it
    from kubernetes.client import ApiClient, Configuration  # noqa: PLC0415 -- as above

    settings = Configuration()
    settings.retries = False  # who waits asks again; who looks wants to know now
    settings.connection_pool_maxsize = _CONNECTIONS
    load: Any = config  # without types
    try:
        if kubeconfig is None:
            load.load_kube_config(context=context, client_configuration=settings, persist_config=False)
        else:
            said = yaml.safe_load(kubeconfig)
            load.load_kube_config_from_dict(said, context, client_configuration=settings, persist_config=False)
    except (config.ConfigException, yaml.YAMLError, TypeError, AttributeError) as error:
        where = f"the secret kubeconfig of cluster {name}" if kubeconfig is not None else "kubectl's own configuration"
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(f"cluster {name}: {where} cannot be used: {why}; correct it, or the context") from None
    return ApiClient(settings)


def _said(status: int, body: bytes) -> str:
    try:
        message = str(json.loads(body).get("message", ""))
    except (ValueError, AttributeError):
        message = body[:300].decode(errors="replace")
    return f"{_NO_ACCESS.get(status, f'the answer is {status}')}: {message}"


def _why(error: Exception) -> str:
    """The innermost reason: urllib3 wraps each in several."""
    while (inner := getattr(error, "reason", None)) is not None and isinstance(inner, Exception):
        error = inner
    return str(error).rpartition(">: ")[2] or str(error)
