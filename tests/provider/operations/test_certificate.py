"""The certificate of a gateway on a real folder; Envoy itself meets it in tests/gateway."""

from __future__ import annotations

import datetime as dt
import json
import ssl
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from berth.gateway import secrets
from berth.provider.errors import BadInput
from berth.provider.host import Host
from berth.provider.operations import certificate as module
from berth.provider.operations.certificate import Certificate, CertificateWant, self_signed

CERTIFICATE = Certificate()
NAMES = ["models.example", "127.0.0.1"]


def declared(tmp_path: Path, **more: object) -> CertificateWant:
    return CertificateWant.model_validate({"host": "box", "folder": str(tmp_path / "a b"), "names": NAMES, **more})


def current(want: CertificateWant) -> Path:
    return Path(want.folder, "tls", "current")


async def test_a_self_signed_certificate_is_made_once_and_kept(host: Host, tmp_path: Path) -> None:
    want = declared(tmp_path)
    assert await CERTIFICATE.observe(host, want) is None
    assert await CERTIFICATE.converge(host, want, want) == want
    made = (current(want) / "certificate.pem").read_bytes()
    names = x509.load_pem_x509_certificate(made).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert [str(name.value) for name in names.value] == NAMES
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
        current(want) / "certificate.pem", current(want) / "key.pem"
    )
    assert stat.S_IMODE((current(want) / "key.pem").stat().st_mode) == 0o600
    assert json.loads(Path(want.folder, "tls", "secrets.json").read_text()) == secrets(want.folder)
    await CERTIFICATE.converge(host, want, want)
    assert (current(want) / "certificate.pem").read_bytes() == made
    ends = dt.date.fromisoformat((await CERTIFICATE.outputs(host, want))["expires"])
    assert 363 < (ends - dt.datetime.now(dt.UTC).date()).days <= 365


async def test_the_key_is_in_no_argument_and_in_nothing_that_is_returned(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = declared(tmp_path)
    argv: list[str] = []
    ran = Host.run

    async def run(self: Host, command: Any, *rest: Any) -> Any:
        argv.extend(command.argv)
        return await ran(self, command, *rest)

    monkeypatch.setattr(Host, "run", run)
    have = await CERTIFICATE.converge(host, want, want)
    key = (current(want) / "key.pem").read_text().splitlines()[1]
    assert have is not None
    assert key not in str(argv) + have.model_dump_json() + str(await CERTIFICATE.outputs(host, want))


async def test_other_names_are_another_certificate_and_the_old_one_goes(host: Host, tmp_path: Path) -> None:
    want = declared(tmp_path)
    await CERTIFICATE.converge(host, want, want)
    old = current(want).resolve()
    other = declared(tmp_path, names=["other.example"])
    seen = await CERTIFICATE.observe(host, other)
    assert CERTIFICATE.differing(other, seen) == ["names[0]", "names[1]"]
    await CERTIFICATE.converge(host, other, other)
    assert not old.exists()
    assert current(want).resolve() != old


async def test_one_that_ends_soon_is_made_anew(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    want = declared(tmp_path)
    monkeypatch.setattr(module, "_VALID", dt.timedelta(days=29))
    certificate, key = self_signed(NAMES)
    folder = Path(want.folder, "tls", "old")
    folder.mkdir(parents=True)
    (folder / "certificate.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(key)
    (folder / "key.pem").chmod(0o600)
    current(want).symlink_to("old")
    Path(want.folder, "tls", "secrets.json").write_text(json.dumps(secrets(want.folder)))
    monkeypatch.undo()
    seen = await CERTIFICATE.observe(host, want)
    assert CERTIFICATE.differing(want, seen) == ["state"]
    assert seen is not None
    assert seen.state == "expiring"
    assert await CERTIFICATE.converge(host, want, want) == want


@pytest.mark.parametrize("damage", ["open key", "no key", "no word to Envoy", "no certificate any more"])
async def test_damage_is_seen_and_put_right(host: Host, tmp_path: Path, damage: str) -> None:
    want = declared(tmp_path)
    await CERTIFICATE.converge(host, want, want)
    if damage == "open key":
        (current(want) / "key.pem").chmod(0o644)
    elif damage == "no key":
        (current(want) / "key.pem").unlink()
    elif damage == "no word to Envoy":
        Path(want.folder, "tls", "secrets.json").write_text("{}")
    else:
        (current(want) / "certificate.pem").write_text("nothing")
    assert CERTIFICATE.differing(want, await CERTIFICATE.observe(host, want))
    assert await CERTIFICATE.converge(host, want, want) == want


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "full chain.pem", tmp_path / "key.pem"
    for path, content in zip(paths, self_signed(NAMES), strict=True):
        path.write_bytes(content)
    return paths


async def test_files_of_the_user_are_copied_and_followed(host: Host, tmp_path: Path, files: tuple[Path, Path]) -> None:
    want = declared(tmp_path, names=[], certificate=str(files[0]), key=str(files[1]))
    assert await CERTIFICATE.converge(host, want, want) == want
    assert (current(want) / "certificate.pem").read_bytes() == files[0].read_bytes()
    assert stat.S_IMODE((current(want) / "key.pem").stat().st_mode) == 0o600
    for path, content in zip(files, self_signed(NAMES), strict=True):
        path.write_bytes(content)
    seen = await CERTIFICATE.observe(host, want)
    assert seen is not None
    assert seen.state == "replaced"
    assert await CERTIFICATE.converge(host, want, want) == want
    assert (current(want) / "key.pem").read_bytes() == files[1].read_bytes()


async def test_files_that_are_not_there_are_named_before_anything_is_changed(
    host: Host, tmp_path: Path, files: tuple[Path, Path]
) -> None:
    want = declared(tmp_path, names=[], certificate=str(files[0]), key=f"{tmp_path}/missing.pem")
    with pytest.raises(BadInput) as caught:
        await CERTIFICATE.converge(host, want, want)
    assert str(caught.value).startswith(f"gateway.tls: {tmp_path}/missing.pem on box: no file that its login can read")
    assert not Path(want.folder).exists()


async def test_removing_it_leaves_the_users_files(host: Host, tmp_path: Path, files: tuple[Path, Path]) -> None:
    want = declared(tmp_path, names=[], certificate=str(files[0]), key=str(files[1]))
    await CERTIFICATE.converge(host, want, want)
    assert await CERTIFICATE.converge(host, None, want) is None
    assert not Path(want.folder, "tls").exists()
    assert all(path.exists() for path in files)
