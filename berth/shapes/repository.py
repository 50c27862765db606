"""A model's repository on the hub, at one commit, over HTTP.

Addresses, headers and the meaning of refusals are huggingface_hub's. Its `parse_safetensors_file_metadata` is not
used: behind a proxy that drops ranges it would load whole weights into memory, and it knows no limit for all requests.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx2  # what huggingface_hub's session is made of
from huggingface_hub import get_session, hf_hub_url, hf_raise_for_status
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from berth.shapes.files import Unreadable
from berth.shapes.headers import header
from berth.shapes.parallel import at_once

__all__ = ["Repository"]

_SMALL = 64 * 2**20
"""Bytes that a configuration, an index or a list of files may have."""

_CONNECTIONS = 16
"""Headers of one model that are asked for at once; a 671B model has 163 files."""


class Repository:
    """The files of one repository at one commit. `deadline` is when it gives up, in seconds of `time.monotonic`."""

    def __init__(self, repo: str, revision: str, *, endpoint: str, token: str | None, deadline: float) -> None:
        self.origin = f"{repo} at {revision[:8]}"
        self._repo = repo
        self._revision = revision
        self._endpoint = endpoint.rstrip("/")
        self._headers = {"User-Agent": "berth", "Accept-Encoding": "identity"}  # ranges are of the file as it is
        if token is not None:
            self._headers["Authorization"] = f"Bearer {_usable(token)}"
        self._deadline = deadline
        self._authorized = token is not None
        if urlsplit(endpoint).scheme not in {"http", "https"}:
            raise Unreadable(f"the endpoint {endpoint} is no web address; write https://HOST")

    def names(self) -> Sequence[str]:
        """The files at the repository's top."""
        answer = self._get(f"{self._endpoint}/api/models/{self._repo}/revision/{self._revision}", _SMALL)
        try:
            listed = [str(entry["rfilename"]) for entry in json.loads(answer)["siblings"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Unreadable(f"{self._endpoint} does not answer as a hub does; check the endpoint") from None
        return sorted(name for name in listed if "/" not in name)

    def whole(self, name: str) -> bytes:
        """A small file."""
        content = self._get(self._url(name), _SMALL + 1)
        if len(content) > _SMALL:
            raise Unreadable(f"{name} is larger than any file of its kind")
        return content

    def headers(self, names: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """The headers of safetensors files, all at once."""

        def one(name: str) -> Mapping[str, Any] | Unreadable:
            try:
                return header(name, lambda size: self._get(self._url(name), size, part=True))
            except Unreadable as problem:
                return problem

        found = at_once(names, one, deadline=self._deadline, threads=_CONNECTIONS)
        if len(found) < len(names):
            raise self._late()
        for result in found.values():
            if isinstance(result, Unreadable):
                raise result
        return [result for result in found.values() if not isinstance(result, Unreadable)]

    def _url(self, name: str) -> str:
        return hf_hub_url(self._repo, name, revision=self._revision, endpoint=self._endpoint)

    def _get(self, url: str, size: int, *, part: bool = False) -> bytes:
        """At most the first `size` bytes, however many the server sends."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._late()
        headers = {**self._headers, **({"Range": f"bytes=0-{size - 1}"} if part else {})}
        try:
            with get_session().stream("GET", url, headers=headers, timeout=left) as answer:
                hf_raise_for_status(answer)
                return self._body(answer, size)
        except httpx2.TimeoutException:
            raise self._late() from None
        except HfHubHTTPError as error:
            raise self._refused(error) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            why = str(error) or type(error).__name__
            raise Unreadable(
                f"{self._endpoint} cannot be reached ({why}); check network and proxy", silent=True
            ) from None

    def _body(self, answer: httpx2.Response, size: int) -> bytes:
        """What is read ends with the size and with the time, since a server may send slowly for ever."""
        content = bytearray()
        for piece in answer.iter_bytes():
            content += piece
            if len(content) >= size:
                break
            if time.monotonic() > self._deadline:
                raise self._late()
        return bytes(content[:size])

    def _late(self) -> Unreadable:
        return Unreadable(f"{self._endpoint} does not answer in time; another preview asks again", silent=True)

    def _refused(self, error: HfHubHTTPError) -> Unreadable:
        hidden = "this token may not see it" if self._authorized else "it needs a token"
        status = error.response.status_code
        match error:
            case GatedRepoError():
                return Unreadable(f"{self._repo} is gated and {hidden}; accept its terms on its page", fatal=True)
            case RevisionNotFoundError():
                return Unreadable(f"{self._repo} has no commit {self._revision}; check the revision", fatal=True)
            case EntryNotFoundError():
                return Unreadable("a file that it lists is not there")
            case _ if status == 401 and self._authorized:
                return Unreadable(f"{self._endpoint} does not know this token; make another one there", fatal=True)
            case _ if isinstance(error, RepositoryNotFoundError) or status in {401, 403, 404}:
                return Unreadable(f"{self._endpoint} has no {self._repo}, or {hidden}; check the name", fatal=True)
        return Unreadable(f"{self._endpoint} answers {status}; another preview asks again")


def _usable(token: str) -> str:
    """The token, when a header can hold it; else the client's error would show it."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable():
        raise Unreadable("its token is empty or has characters that no token has; set the secret again")
    return token
