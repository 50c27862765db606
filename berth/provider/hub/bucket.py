"""A folder of an S3 bucket: what it lists, what it refuses, and whether what came is it. Runs on the host.

ListObjectsV2, GetObject and HeadObject as
https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html has them, by path
(`https://ENDPOINT/BUCKET/KEY`), which AWS and every other server of S3 understand.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from berth.provider.hub.api import Storage
from berth.provider.hub.selection import Listed
from berth.provider.hub.signing import Keys, signed
from berth.provider.hub.status_lines import StatusLines
from berth.provider.hub.stop import Stop

_AWS = "https://s3.amazonaws.com"
_CHUNK = 2**20
_NOT_TAKEN = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "XAdminUserNotFound"})
"""What storages say of access keys; the last is versitygw's word for one that it does not know."""


class _Stay(urllib.request.HTTPRedirectHandler):
    """A signature is good for one address, and a redirect of S3 means that the region is another."""

    def redirect_request(self, *arguments: Any, **more: Any) -> None:
        """Never follows."""


class Bucket(Storage):
    """One folder (`s3://BUCKET/FOLDER`) as one access key sees it; without keys, as everybody does."""

    name = "the bucket"
    redirects = _Stay()

    def __init__(self, url: str, endpoint: str, region: str, keys: Keys | None, lines: StatusLines) -> None:
        if endpoint.rstrip("/") == _AWS and region != "us-east-1":
            endpoint = f"https://s3.{region}.amazonaws.com"
        super().__init__(endpoint, lines, patience_s=900.0, pause_s=1.0)
        self._bucket, _, folder = url.removeprefix("s3://").partition("/")
        self._prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
        self._region, self._keys = region, keys

    @property
    def source(self) -> str:
        """The address that all of its files are below."""
        return f"{self.endpoint}/{self._bucket}/{_encoded(self._prefix)}"

    def proof(self, method: str, url: str) -> dict[str, str]:
        """See `Storage.proof`."""
        if self._keys is None:
            return {}
        return signed(method, url, self._region, self._keys, dt.datetime.now(dt.timezone.utc))  # noqa: UP017 - 3.10

    def contents(self) -> list[Listed]:
        """All files of the folder; `blob` is the ETag.

        Raises:
            Stop: it cannot be listed, or is empty.
        """
        found: list[Listed] = []
        token: str | None = ""
        while token is not None:
            query = {"list-type": "2", "prefix": self._prefix, **({"continuation-token": token} if token else {})}
            said = "&".join(f"{name}={_encoded(query[name], safe='')}" for name in sorted(query))
            page = _parsed(self.read(f"{self.endpoint}/{self._bucket}?{said}")[0])
            if page is None:
                raise Stop("server", f"{self.endpoint} does not answer as S3 does; check the endpoint")
            found += [self._listed(entry) for entry in page.iterfind("{*}Contents")]
            token = page.findtext("{*}NextContinuationToken") or None
        files = [file for file in found if not file.path.endswith("/") and file.path]
        if not files:
            raise Stop("repo", f"the bucket {self._bucket} has nothing below {self._prefix or 'it'}; check the folder")
        return files

    def right(self, file: Listed, content: Path) -> bool:
        """Whether a file's content has its ETag, where that says something of the content.

        It is the content's MD5; of what was uploaded in parts, that of the parts' MD5s and their number; and nothing of
        either where the storage encrypts with keys of its own kind, which leaves the size.
        """
        etag = file.blob
        if re.fullmatch(r"[0-9a-f]{32}", etag):
            return _md5(content) == etag or self._encrypted(file)
        parts = re.fullmatch(r"[0-9a-f]{32}-(\d+)", etag)
        count, first = (int(parts[1]), self._part(file, 1)) if parts else (0, 0)
        if not 0 < first <= file.size or (first == file.size and count > 1):
            return True  # nobody says how it was cut
        last = file.size - first * (count - 1)
        if 0 < last <= first and _md5_of_parts(content, [*[first] * (count - 1), last]) == etag:
            return True
        # It is another content, or its parts are of different sizes, of which each must be asked for.
        sizes = [first]
        for number in range(2, count + 1):
            sizes.append(self._part(file, number))
            if not sizes[-1] or sum(sizes) > file.size:
                return True
        return sum(sizes) != file.size or _md5_of_parts(content, sizes) == etag or self._encrypted(file)

    def refused(self, error: urllib.error.HTTPError) -> NoReturn:
        """See `Storage.refused`."""
        page = _parsed(error.read())
        code = (page.findtext("{*}Code") or page.findtext("Code") or "") if page is not None else ""
        region = error.headers.get("x-amz-bucket-region") or (page.findtext("Region") if page is not None else None)
        if code in _NOT_TAKEN:
            raise Stop("token", f"{self.endpoint} does not take this access key ({code}); check both of its secrets")
        if code in {"NoSuchBucket", "NoSuchKey"} or (error.code == 404 and not code):
            what = "such file any more" if code == "NoSuchKey" else f"bucket {self._bucket}"
            raise Stop("repo", f"{self.endpoint} has no {what}; check the name, and the endpoint of its connection")
        if code == "RequestTimeTooSkewed":
            raise Stop("server", f"{self.endpoint} says that this host's clock is wrong; set it")
        if region and region != self._region and (error.code in {301, 307} or code.startswith("Authorization")):
            raise Stop("server", f"the bucket {self._bucket} is in the region {region}, not {self._region}; say that")
        if error.code == 412:
            raise Stop("mismatch", "a file has changed while it was downloaded; run this again")
        if code == "InvalidObjectState":
            raise Stop("repo", "a file is archived; restore it, or copy the model to another folder")
        if error.code in {401, 403}:
            may = "this access key may not list and read it (s3:ListBucket, s3:GetObject)"
            why = may if self._keys else "it is not public; name the connection that opens it"
            raise Stop("gated", f"the bucket {self._bucket} is closed: {why}")
        raise Stop("server", f"{self.endpoint} answers {error.code} ({code or error.reason})")

    def _listed(self, entry: ET.Element) -> Listed:
        path = (entry.findtext("{*}Key") or "")[len(self._prefix) :]
        if path and {"", ".", ".."} & set(path.rstrip("/").split("/")):
            raise Stop("mismatch", f"the bucket has {path!r}, which is no path of a file; remove it there")
        size, etag = entry.findtext("{*}Size") or "0", entry.findtext("{*}ETag") or ""
        return Listed(path, int(size), etag.strip('"'))

    def _part(self, file: Listed, number: int) -> int:
        """The size of a part; that of the whole file, or 0, where the storage does not tell."""
        try:
            with self.open(f"{self.source}{_encoded(file.path)}?partNumber={number}", method="HEAD") as answer:
                return int(answer.headers.get("Content-Length") or 0)
        except urllib.error.HTTPError:  # 416: it knows of no such part
            return 0

    def _encrypted(self, file: Listed) -> bool:
        with self.open(f"{self.source}{_encoded(file.path)}", method="HEAD") as answer:
            how = answer.headers.get("x-amz-server-side-encryption") or ""
            return how.startswith("aws:kms") or "x-amz-server-side-encryption-customer-algorithm" in answer.headers


def _encoded(text: str, safe: str = "/") -> str:
    return urllib.parse.quote(text, safe=f"{safe}-_.~")


def _parsed(text: bytes) -> ET.Element | None:
    try:
        return ET.fromstring(text)  # noqa: S314 - of a storage that is trusted with weights
    except ET.ParseError:
        return None


def _md5(path: Path) -> str:
    return _md5s(path, [path.stat().st_size])[0].hex()


def _md5_of_parts(path: Path, sizes: Sequence[int]) -> str:
    parts = _md5s(path, sizes)
    return f"{hashlib.md5(b''.join(parts), usedforsecurity=False).hexdigest()}-{len(parts)}"


def _md5s(path: Path, sizes: Sequence[int]) -> list[bytes]:
    """The MD5 of each part of a file."""
    found = []
    with path.open("rb") as content:
        for size in sizes:
            digest, left = hashlib.md5(usedforsecurity=False), size
            while left and (data := content.read(min(_CHUNK, left))):
                digest.update(data)
                left -= len(data)
            found.append(digest.digest())
    return found
