"""The program that brings a model from a bucket, against a real S3 server that checks every signature."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from berth.provider.hub.bucket import Bucket
from berth.provider.hub.program import program
from berth.provider.hub.selection import Listed, format_of
from berth.provider.hub.signing import Keys, signed
from berth.provider.hub.status_lines import StatusLines
from berth.provider.hub.stop import STATUS
from berth.provider.operations.bucket_model import BucketModel, BucketModelWant
from tests.hub.bucket import ACCESS, REGION, SECRET, StoredBuckets, buckets
from tests.hub.fixtures import NEEDED, model_files

__all__ = ["buckets"]

FILES = model_files() | {"a name/with blank & plus+ä.json": b"{}\n"}

KEYS = (ACCESS, SECRET)
NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def bucket(buckets: StoredBuckets, request: pytest.FixtureRequest) -> str:
    """A bucket of this test's own with a model in the folder `models/m`, and a neighbour of a like name."""
    name = "b" + hashlib.sha256(request.node.name.encode()).hexdigest()[:20]
    buckets.fill(name, "models/m", FILES)
    buckets.put(f"{name}/models/m2/config.json", b"another model's")
    return name


def run(
    buckets: StoredBuckets,
    bucket: str,
    folder: Path,
    verb: str = "download",
    *,
    keys: tuple[str, ...] = KEYS,
    **more: str,
) -> tuple[int, list[dict[str, object]]]:
    """The program's status and what it wrote."""
    said = {"url": f"s3://{bucket}/models/m", "endpoint": buckets.endpoint, "region": REGION, **more}
    options = [word for key, value in said.items() for word in (f"--{key}", value)]
    argv = [sys.executable, *program(of_bucket=True), verb, *options, "--folder", str(folder)]
    done = subprocess.run(argv, input="\n".join(keys), capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert SECRET not in done.stdout
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_keys_show_their_id_and_no_secret() -> None:
    assert repr(Keys(ACCESS, SECRET)) == str((Keys(ACCESS, SECRET),))[1:-2] == f"Keys(id={ACCESS!r})"


def contents(folder: Path) -> Mapping[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".berth" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("query", "signature"),
    [
        ("lifecycle=", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("prefix=J&max-keys=2", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_signatures_are_those_of_the_examples_of_aws(query: str, signature: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html."""
    keys = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    url = f"https://examplebucket.s3.amazonaws.com/?{query}"
    headers = signed("GET", url, "us-east-1", keys, dt.datetime(2013, 5, 24, tzinfo=dt.UTC))
    assert headers["Authorization"].endswith(f", Signature={signature}")


def test_what_serving_needs_comes_and_a_second_run_asks_nobody(
    buckets: StoredBuckets, bucket: str, tmp_path: Path
) -> None:
    status, lines = run(buckets, bucket, tmp_path / "m")
    assert (status, lines[-1]) == (0, {"path": str(tmp_path / "m")})
    needed = {name: FILES[name] for name in (*NEEDED, "a name/with blank & plus+ä.json")}
    assert contents(tmp_path / "m") == needed
    amounts = [line["done"] for line in lines if "done" in line]
    assert amounts == sorted(amounts, key=lambda amount: int(str(amount)))
    assert run(buckets, bucket, tmp_path / "m", endpoint="http://127.0.0.1:1", keys=())[0] == 0
    assert run(buckets, bucket, tmp_path / "m", "look")[1] == [{"path": str(tmp_path / "m"), "missing": []}]


def test_looking_at_nothing_finds_nothing_and_writes_nothing(buckets: StoredBuckets, tmp_path: Path) -> None:
    assert run(buckets, "none", tmp_path / "m", "look")[1] == [{"path": str(tmp_path / "m"), "missing": None}]
    assert list(tmp_path.iterdir()) == []


def test_what_is_gone_or_short_is_named_and_comes_again_alone(
    buckets: StoredBuckets, bucket: str, tmp_path: Path
) -> None:
    run(buckets, bucket, tmp_path)
    kept = (tmp_path / "tokenizer.json").stat().st_ino
    (tmp_path / "config.json").unlink()
    shard = tmp_path / "model-00001-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:1000])
    missing = run(buckets, bucket, tmp_path, "look")[1][0]["missing"]
    assert missing == ["config.json", "model-00001-of-00002.safetensors"]
    assert run(buckets, bucket, tmp_path)[0] == 0
    assert shard.read_bytes() == FILES[shard.name]
    assert (tmp_path / "tokenizer.json").stat().st_ino == kept


def test_half_a_file_goes_on_where_it_was_and_is_proved_whole(
    buckets: StoredBuckets, bucket: str, tmp_path: Path
) -> None:
    """The half that is there is marked, so that a download from the beginning would show."""
    name = "model-00001-of-00002.safetensors"
    run(buckets, bucket, tmp_path)
    (mark,) = [path for path in (tmp_path / ".berth").glob("*.complete") if _is(path, name)]
    (tmp_path / name).unlink()
    (tmp_path / ".berth/files.json").unlink()
    half = FILES[name][: len(FILES[name]) // 2]
    mark.with_suffix(".incomplete").write_bytes(half)
    mark.unlink()
    before = _sent(buckets)
    assert run(buckets, bucket, tmp_path)[0] == 0
    assert (tmp_path / name).read_bytes() == FILES[name]
    assert _sent(buckets) - before < len(half) * 1.5

    (tmp_path / name).unlink()
    mark.unlink()
    mark.with_suffix(".incomplete").write_bytes(b"x" * len(half))
    status, lines = run(buckets, bucket, tmp_path)
    assert status == 0, lines[-1]
    assert (tmp_path / name).read_bytes() == FILES[name], "a wrong half is found by its MD5, and comes again"


def _is(mark: Path, name: str) -> bool:
    etag = hashlib.md5(FILES[name], usedforsecurity=False).hexdigest()
    return mark.stem == hashlib.sha256(f"{name}\0{etag}".encode()).hexdigest()[:32]


def test_what_was_uploaded_in_parts_is_held_against_them(buckets: StoredBuckets, bucket: str, tmp_path: Path) -> None:
    size = 5 * 2**20  # the least that a part may have
    content = bytes(range(256)) * (size // 256) + b"the rest"
    _without_weights(buckets, bucket)
    _in_parts(buckets, f"{bucket}/models/m/model.bin", content[:size], content[size:])
    status, lines = run(buckets, bucket, tmp_path)
    assert status == 0, lines[-1]
    assert (tmp_path / "model.bin").read_bytes() == content
    etag = json.loads((tmp_path / ".berth/files.json").read_text())["model.bin"]["etag"]
    assert etag.endswith("-2")


def test_parts_of_different_sizes_are_each_held_against_their_own(
    buckets: StoredBuckets, bucket: str, tmp_path: Path
) -> None:
    """Three parts, as many as there were if all were like the first."""
    size = 5 * 2**20
    parts = [b"a" * size, b"b" * (size + 9), b"c"]
    _without_weights(buckets, bucket)
    path = f"{bucket}/models/m/model.bin"
    _in_parts(buckets, path, *parts)
    status, lines = run(buckets, bucket, tmp_path)
    assert status == 0, lines[-1]
    content = tmp_path / "model.bin"
    assert content.read_bytes() == b"".join(parts)

    etag = json.loads((tmp_path / ".berth/files.json").read_text())["model.bin"]["etag"]
    seen = Bucket(f"s3://{bucket}/models/m", buckets.endpoint, REGION, Keys(*KEYS), StatusLines(""))
    try:
        file = Listed("model.bin", content.stat().st_size, etag)
        assert seen.right(file, content)
        content.write_bytes(b"".join(parts)[:-1] + b"d")
        assert not seen.right(file, content)
    finally:
        seen.lines.end()


def _without_weights(buckets: StoredBuckets, bucket: str) -> None:
    for name in ("model.safetensors.index.json", *(name for name in FILES if name.endswith(".safetensors"))):
        buckets.curl(f"{bucket}/models/m/{name}", "-X", "DELETE")


def _in_parts(buckets: StoredBuckets, path: str, *contents: bytes) -> None:
    upload = re.search(r"<UploadId>([^<]+)<", buckets.curl(f"{path}?uploads=", "-X", "POST"))
    assert upload is not None
    parts = []
    for number, part in enumerate(contents, start=1):
        query = f"partNumber={number}&uploadId={upload[1]}"
        buckets.curl(f"{path}?{query}", "-X", "PUT", "--data-binary", "@-", stdin=part)
        etag = hashlib.md5(part, usedforsecurity=False).hexdigest()
        parts.append(f'<Part><PartNumber>{number}</PartNumber><ETag>"{etag}"</ETag></Part>')
    done = f"<CompleteMultipartUpload>{''.join(parts)}</CompleteMultipartUpload>".encode()
    buckets.curl(f"{path}?uploadId={upload[1]}", "-X", "POST", "--data-binary", "@-", stdin=done)


def test_weights_that_the_bucket_has_no_more_go(buckets: StoredBuckets, bucket: str, tmp_path: Path) -> None:
    run(buckets, bucket, tmp_path)
    (tmp_path / "notes.txt").write_text("somebody's own")
    _without_weights(buckets, bucket)
    buckets.put(f"{bucket}/models/m/model.safetensors", FILES["model-00001-of-00002.safetensors"])
    (tmp_path / "config.json").unlink()
    assert run(buckets, bucket, tmp_path)[0] == 0
    assert sorted(name for name in contents(tmp_path) if format_of(name)) == ["model.safetensors"]
    assert (tmp_path / "notes.txt").exists()


def test_what_changed_in_the_bucket_comes_whole_or_stays_whole(
    buckets: StoredBuckets, bucket: str, tmp_path: Path
) -> None:
    run(buckets, bucket, tmp_path)
    buckets.put(f"{bucket}/models/m/config.json", b'{"architectures": ["Other"]}\n')
    assert run(buckets, bucket, tmp_path)[0] == 0
    assert (tmp_path / "config.json").read_bytes() == FILES["config.json"]
    (tmp_path / "tokenizer.json").unlink()
    assert run(buckets, bucket, tmp_path)[0] == 0
    assert (tmp_path / "config.json").read_bytes() == b'{"architectures": ["Other"]}\n'
    assert not list((tmp_path / ".berth").glob("*.incomplete"))


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(({"url": "s3://no-such-bucket-here/m"}, KEYS, "repo", "has no bucket no-such-"), id="bucket"),
        pytest.param(({"url": "s3://BUCKET/m/none"}, KEYS, "repo", "has nothing below m/none/"), id="folder"),
        pytest.param(({}, ("AKIDOTHER", SECRET), "token", "does not take this access key"), id="unknown key"),
        pytest.param(({}, (ACCESS, "wrong"), "token", "this access key (SignatureDoesNotMatch)"), id="wrong key"),
        pytest.param(({}, (ACCESS, ""), "token", "the access key has 1 lines that are"), id="no secret"),
        pytest.param(({}, ("", SECRET), "token", "check both of its secrets"), id="no id"),
        pytest.param(({}, (ACCESS, "a b"), "token", "(SignatureDoesNotMatch)"), id="key with a space"),
        pytest.param(({}, (), "gated", "it is not public; name the connection that opens it"), id="no key"),
        pytest.param(({"endpoint": NOBODY}, KEYS, "offline", f"{NOBODY} cannot be reached"), id="nobody there"),
        pytest.param(({"url": "s3://BUCKET/models/m2"}, KEYS, "weights", "it has no weights that"), id="no weights"),
    ],
)
def test_each_refusal_has_its_status_and_says_what_to_do(
    buckets: StoredBuckets, bucket: str, tmp_path: Path, case: tuple[dict[str, str], tuple[str, ...], str, str]
) -> None:
    more, keys, kind, says = case
    more = {key: value.replace("BUCKET", bucket) for key, value in more.items()}
    status, lines = run(buckets, bucket, tmp_path / "m", keys=keys, **more)
    assert (status, lines[-1]["error"]) == (STATUS[kind], kind), lines[-1]
    assert says in str(lines[-1]["say"])


def _sent(buckets: StoredBuckets) -> int:
    """Bytes that the server has written so far, to sockets and to files."""
    text = Path(f"/proc/{buckets.pid}/io").read_text()
    return int(text.split("wchar: ")[1].split()[0])


@pytest.mark.parametrize(
    ("access", "secret", "given"), [("", "", b""), ("a", "b", b"a\nb\n"), ("a", "", b"a\n\n"), ("", "b", b"\nb\n")]
)
def test_half_a_key_is_not_nobody(access: str, secret: str, given: bytes) -> None:
    """The program on the host says what is wrong with it."""
    where = {"host": "box", "url": "s3://weights/m", "endpoint": NOBODY, "region": REGION, "folder": "/m"}
    want = BucketModelWant.model_validate({**where, "python": "/python", "access_key": access, "secret_key": secret})
    assert BucketModel().credentials(want) == given
