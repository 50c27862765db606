"""AWS Signature Version 4 for requests without a body, in headers. Runs on the host.

As https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html has it, for S3: paths are
encoded once. botocore is on no host that nobody prepared, and an engine's environment must not depend on it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import urllib.parse
from typing import NamedTuple

_EMPTY = hashlib.sha256(b"").hexdigest()


class Keys(NamedTuple):
    """An access key: its id and the key itself."""

    id: str
    secret: str

    def __repr__(self) -> str:
        """The id alone: a traceback may show it."""
        return f"Keys(id={self.id!r})"


def signed(method: str, url: str, region: str, keys: Keys, now: dt.datetime) -> dict[str, str]:
    """The headers that sign a request; `url` is encoded already."""
    parts = urllib.parse.urlsplit(url)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {"host": parts.netloc, "x-amz-content-sha256": _EMPTY, "x-amz-date": stamp}
    names = ";".join(headers)
    query = "&".join(sorted(parts.query.split("&"))) if parts.query else ""
    lines = [method, parts.path or "/", query, *(f"{name}:{value}" for name, value in headers.items()), "", names]
    request = "\n".join([*lines, _EMPTY])
    scope = f"{day}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{keys.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    proof = f"AWS4-HMAC-SHA256 Credential={keys.id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {"x-amz-content-sha256": _EMPTY, "x-amz-date": stamp, "Authorization": proof}
