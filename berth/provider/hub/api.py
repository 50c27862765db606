"""The hub's HTTP API: what it lists, what it refuses, and when it asks to wait. Runs on the host.

`Storage` is what every place has that files come from by HTTP: patience, and further attempts. The hub's error headers
are those that huggingface_hub 2.4 reads (utils/_http.py, hf_raise_for_status).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import http.client
import json
import os
import re
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from typing import Any, NoReturn

from berth.provider.hub.selection import Listed
from berth.provider.hub.status_lines import StatusLines
from berth.provider.hub.stop import Stop

STALLS = 5
"""So many attempts in a row without a single new byte are a failure."""

TIMEOUT_S = 30.0

CUT = (TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException)
"""What ends an answer before its end."""


class Storage:
    """Where files come from by HTTP. It may ask for `patience_s` seconds of waiting in all; `pause_s` is our own."""

    name = "the storage"
    redirects: urllib.request.HTTPRedirectHandler
    quicker = ""
    """What would be asked to wait less."""

    def __init__(self, endpoint: str, lines: StatusLines, *, patience_s: float, pause_s: float) -> None:
        if not endpoint.startswith(("http://", "https://")):
            raise Stop("offline", f"the endpoint {endpoint!r} is no web address; write https://HOST")
        self.endpoint = endpoint.rstrip("/")
        self.ended = threading.Event()
        self.lines = lines
        self._patience_s = patience_s
        self._pause_s = pause_s
        handlers = (self.redirects, urllib.request.HTTPSHandler(context=_certificates()))
        self._opener = urllib.request.build_opener(*handlers)

    def open(self, url: str, start: int = 0, *, method: str = "GET", **more: str) -> http.client.HTTPResponse:
        """One answer, from the byte `start`; waits when it is asked to, and tries again what may pass.

        Raises:
            Stop: it is refused, or does not come.
            HTTPError: there is nothing at `start` (416).
        """
        wanted = {"User-Agent": "berth", **more, **({"Range": f"bytes={start}-"} if start else {})}
        attempt = 0
        while True:
            headers = {**wanted, **self.proof(method, url)}
            request = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310 - http(s), was checked
            try:
                answer: http.client.HTTPResponse = self._opener.open(request, timeout=TIMEOUT_S)
            except urllib.error.HTTPError as error:
                if error.code == 416:
                    raise
                stop = self._judge(error, attempt)
            except (OSError, http.client.HTTPException) as error:
                why = getattr(error, "reason", None) or error
                stop = Stop("offline", f"{self.endpoint} cannot be reached: {str(why) or type(error).__name__}")
            else:
                return answer
            if stop is not None:
                if attempt == STALLS:
                    raise stop
                self.pause(attempt, str(stop))
            attempt += 1

    def read(self, url: str) -> tuple[bytes, Message]:
        """A whole answer with its headers; asks again where it is cut off.

        Raises:
            Stop: it is refused, or does not come.
        """
        for attempt in range(STALLS + 1):
            try:
                with self.open(url) as answer:
                    return answer.read(), answer.headers
            except CUT as error:
                why = f"{self.endpoint} does not answer to the end: {str(error) or type(error).__name__}"
            if attempt < STALLS:
                self.pause(attempt, why)
        raise Stop("offline", why)

    def proof(self, method: str, url: str) -> dict[str, str]:
        """The headers that say who asks."""
        raise NotImplementedError

    def refused(self, error: urllib.error.HTTPError) -> NoReturn:
        """Says why.

        Raises:
            Stop: always.
        """
        raise NotImplementedError

    def pause(self, attempt: int, why: str) -> None:
        """Waits before another attempt, longer each time."""
        self._wait(self._pause_s * 2**attempt, f"{why}; trying again")

    def _wait(self, seconds: float, note: str) -> None:
        self.lines.note(note)
        if self.ended.wait(seconds):
            raise Stop("offline", "another file's failure has ended the download")
        self.lines.note("")

    def _judge(self, error: urllib.error.HTTPError, attempt: int) -> Stop | None:
        """What an error answer means: a failure that may pass, or None after the wait that it asked for."""
        with error:
            if error.code == 429:
                self._slow_down(error.headers, attempt)
                return None
            if error.code < 500:
                self.refused(error)
        return Stop("server", f"{self.endpoint} answers {error.code} ({error.reason})")

    def _slow_down(self, headers: Message, attempt: int) -> None:
        seconds = _asked_wait(headers, default=self._pause_s * 2**attempt)
        says = f"{self.name} answers 429 (too many requests)"
        if seconds > self._patience_s:
            raise Stop("limit", f"{says} and asks to wait {seconds:.0f} s; run this again later{self.quicker}")
        self._patience_s -= seconds
        self._wait(seconds, f"{says}: waiting {seconds:.0f} s as it asks")


def _asked_wait(headers: Message, default: float) -> float:
    """Seconds of Retry-After (a number or a date), else those of the hub's RateLimit header."""
    after = headers.get("Retry-After") or ""
    if after.isdigit():
        return float(after)
    with contextlib.suppress(ValueError, TypeError):
        until = email.utils.parsedate_to_datetime(after)
        return max(0.0, (until - dt.datetime.now(dt.timezone.utc)).total_seconds())  # noqa: UP017 - 3.10
    reset = re.search(r"\bt\s*=\s*(\d+)", headers.get("RateLimit") or "")
    return float(reset[1]) if reset else default


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, and shows the token to nobody but the hub itself."""

    def redirect_request(  # noqa: PLR0917 - urllib's own signature
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        new = super().redirect_request(req, fp, 307 if code == 308 else code, msg, headers, newurl)
        if new is not None and urllib.parse.urlsplit(newurl)[:2] != urllib.parse.urlsplit(req.full_url)[:2]:
            new.remove_header("Authorization")
        return new

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302  # Python 3.10 does not know it


class Hub(Storage):
    """One hub as one token sees it."""

    name = "the hub"
    redirects = _Redirects()

    def __init__(self, endpoint: str, token: str, lines: StatusLines, *, patience_s: float, pause_s: float) -> None:
        super().__init__(endpoint, lines, patience_s=patience_s, pause_s=pause_s)
        self._token = token
        self.quicker = "" if token else " or declare a token, which raises the limits"

    def proof(self, method: str, url: str) -> dict[str, str]:
        """See `Storage.proof`."""
        del method, url
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def json(self, path: str) -> tuple[Any, Message]:
        """The hub's answer to a question, with its headers.

        Raises:
            Stop: it does not answer, or not as a hub.
        """
        text, headers = self.read(self.endpoint + path)
        try:
            return json.loads(text), headers
        except ValueError:
            raise Stop("server", f"{self.endpoint} does not answer as a hub does; check the endpoint") from None

    def listing(self, repo: str, revision: str) -> tuple[str, list[Listed]]:
        """The commit of a revision, and all files of that commit.

        Raises:
            Stop: the hub does not list it.
        """
        commit = self.json(f"/api/models/{repo}/revision/{urllib.parse.quote(revision, safe='')}")[0]["sha"]
        page: str | None = f"/api/models/{repo}/tree/{commit}?recursive=true"
        files = []
        while page:
            entries, headers = self.json(page)
            for entry in entries:
                if entry["type"] == "file":
                    named = entry.get("lfs") or entry
                    files.append(Listed(entry["path"], named["size"], named["oid"]))
            # Only the path: behind another endpoint the hub still names itself, and the token is not for everybody.
            following = re.search(r'<[^>]*?(/api/models/[^>]+)>;\s*rel="next"', headers.get("Link") or "")
            page = following[1] if following else None
        return commit, files

    def refused(self, error: urllib.error.HTTPError) -> NoReturn:
        """See `Storage.refused`."""
        code, message = error.headers.get("X-Error-Code") or "", error.headers.get("X-Error-Message") or ""
        if code == "GatedRepo" and not self._token:
            raise Stop("gated", "it is gated and no token is given; ask for access at the hub and declare a token")
        if code == "GatedRepo":
            raise Stop("gated", "it is gated and this token's owner is not let in; ask for access at the hub")
        if code == "RevisionNotFound":
            raise Stop("revision", "the model has no such revision; look at its commits at the hub")
        if "nvalid credentials" in message:
            raise Stop("token", "the hub does not know this token; make another one there")
        if code == "EntryNotFound":
            raise Stop("mismatch", "a file that the hub lists is not there")
        if code == "RepoNotFound" or error.code in {401, 404}:
            hidden = "this token may not see it" if self._token else "it is private and needs a token"
            raise Stop("repo", f"{self.endpoint} has no such model, or {hidden}; check the name")
        raise Stop("server", f"{self.endpoint} answers {error.code}: {message or error.reason}")


def _certificates() -> ssl.SSLContext:
    """The system's certificates; for a Python that was built elsewhere and finds none, certifi's."""
    context = ssl.create_default_context(cafile=os.environ.get("REQUESTS_CA_BUNDLE") or None)
    paths = ssl.get_default_verify_paths()
    if not context.cert_store_stats()["x509_ca"] and not (paths.cafile or paths.capath):
        with contextlib.suppress(ImportError):
            import certifi  # noqa: PLC0415 - only where it is needed, and there

            context.load_verify_locations(certifi.where())
    return context
