"""Encryption at the door, with a real Envoy: who may come without, and how a certificate is replaced."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from berth import gateway as berth_gateway
from berth import watcher as berth_watcher
from berth.planner.plan import TlsPlan
from berth.provider.operations.certificate import self_signed

Make = Callable[..., Any]
Start = Callable[[str], Awaitable[Any]]

pytestmark = pytest.mark.envoy

NAMES = ("localhost", "127.0.0.1")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of the user's and its key."""
    paths = (tmp_path / "fullchain.pem", tmp_path / "privkey.pem")
    replace(paths)
    return paths


def replace(paths: tuple[Path, Path]) -> None:
    for path, content in zip(paths, self_signed(NAMES), strict=True):
        path.write_bytes(content)


def publish(one: Any, paths: tuple[Path, Path], name: str) -> None:
    """As the provider and the watcher do it: a folder of its own, then the link to it."""
    target = one.folder / "tls" / name
    target.mkdir(parents=True)
    for path, file in zip(paths, ("certificate.pem", "key.pem"), strict=True):
        (target / file).write_bytes(path.read_bytes())
    link = one.folder / "tls" / ".new"
    link.symlink_to(name)
    link.replace(one.folder / "tls" / "current")


@pytest.fixture
async def one(gateway: Make, engines: Start, model_of: Make, files: tuple[Path, Path]) -> Any:
    """A gateway that encrypts."""
    made = gateway(model_of("tiny"), bind="0.0.0.0", tls=TlsPlan(names=NAMES))
    made.engine = await engines("a")
    made.serve("tiny@main", made.engine)
    publish(made, files, "first")
    made.write("tls/secrets.json", berth_gateway.secrets(str(made.folder)))
    return await made.start()


def client(one: Any, certificate: Path, **options: Any) -> httpx.AsyncClient:
    context = ssl.create_default_context(cafile=str(certificate))
    headers = {"authorization": f"Bearer {one.keys['alice']}"}
    url = f"https://localhost:{one.plan.port}"
    return httpx.AsyncClient(base_url=url, verify=context, headers=headers, timeout=30, **options)


async def shown(one: Any) -> bytes:
    """The certificate that a new connection is shown."""
    pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", one.plan.port))
    return ssl.PEM_cert_to_DER_cert(pem)


def der(path: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(path.read_text())


async def test_a_client_that_trusts_the_certificate_is_served(one: Any, files: tuple[Path, Path]):
    async with client(one, files[0]) as asking:
        assert (await asking.post("/v1/completions", json={"model": "tiny"})).status_code == 200
        assert (await asking.get("/v1/models")).status_code == 200


async def test_a_client_that_does_not_is_warned(one: Any):
    async with httpx.AsyncClient() as asking:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await asking.get(f"https://localhost:{one.plan.port}/v1/models")


@pytest.mark.parametrize(("version", "works"), [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
async def test_nothing_older_than_tls_1_2_is_spoken(one: Any, version: str, works: bool):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]

    def shake() -> bool:
        with socket.create_connection(("127.0.0.1", one.plan.port), 5) as plain:
            try:
                with context.wrap_socket(plain):
                    return True
            except (ssl.SSLError, ConnectionError):
                return False

    assert await asyncio.to_thread(shake) is works


async def test_the_host_itself_may_come_without_encryption(one: Any):
    assert (await one.chat("tiny")).status_code == 200


async def test_others_are_told_to_encrypt(one: Any):
    """From an address of this machine that is neither loopback nor the one that is asked, as from elsewhere."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        own = probe.getsockname()[0]
    transport = httpx.AsyncHTTPTransport(local_address=own)
    async with httpx.AsyncClient(transport=transport) as asking:
        headers = {"authorization": f"Bearer {one.keys['alice']}"}
        answer = await asking.get(f"{one.url}/v1/models", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "https_required")


async def test_a_replaced_certificate_is_shown_at_once_and_breaks_no_stream(
    one: Any, files: tuple[Path, Path], eventually: Make
):
    one.engine.gap_s = 0.1
    first = files[0].with_name("first.pem")
    first.write_bytes(files[0].read_bytes())
    async with client(one, first) as asking:
        body = {"model": "tiny", "messages": [], "stream": True, "chunks": 20}
        stream = asyncio.create_task(asking.post("/v1/chat/completions", json=body))
        await eventually(lambda: asyncio.sleep(0, one.engine.requests), "the stream runs")
        replace(files)
        publish(one, files, "second")
        await eventually(lambda: is_shown(one, files[0]), "the new one is shown", 5)
        assert not stream.done()
        assert (await stream).text.endswith("[DONE]\n\n")


async def is_shown(one: Any, path: Path) -> bool:
    return await shown(one) == der(path)


@pytest.fixture
def watching(one: Any, files: tuple[Path, Path], tmp_path: Path) -> Iterator[Path]:
    """A watcher that follows the user's files; its log."""
    program, log = tmp_path / "watch.py", tmp_path / "watcher.log"
    program.write_text(berth_watcher.PROGRAM)
    paths = {"certificate": str(files[0]), "key": str(files[1])}
    argv = berth_watcher.command(sys.executable, str(program), str(one.folder), one.plan.admin_port, **paths)
    with log.open("wb") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out)
    yield log
    process.terminate()
    process.wait(5)


async def test_files_that_are_replaced_are_taken_over_once_they_belong_together(
    one: Any, files: tuple[Path, Path], watching: Path, eventually: Make
):
    old = await shown(one)
    certificate, key = self_signed(NAMES)
    files[0].write_bytes(certificate)
    await eventually(lambda: asyncio.sleep(0, "are no pair" in watching.read_text()), "the mismatch is seen", 5)
    assert await shown(one) == old
    files[1].write_bytes(key)
    await eventually(lambda: is_shown(one, files[0]), "the new pair is shown", 5)
    current = one.folder / "tls" / "current"
    assert {(current / name).stat().st_mode & 0o777 for name in ("certificate.pem", "key.pem")} == {0o600}
    assert [path.name for path in (one.folder / "tls").iterdir() if path.is_dir() and not path.is_symlink()] == [
        str(current.readlink())
    ]


async def test_a_pair_that_does_not_match_leaves_the_old_one_in_use(
    one: Any, files: tuple[Path, Path], eventually: Make
):
    old = await shown(one)
    files[0].write_bytes(self_signed(NAMES)[0])
    publish(one, files, "broken")

    async def refused() -> bool:
        stats = (await one.admin("/stats?filter=sds.door.*(update_rejected|key_rotation_failed)")).text
        return any(line.split(": ")[1] != "0" for line in stats.splitlines())

    await eventually(refused, "Envoy refuses the pair", 5)
    assert await shown(one) == old


def test_the_check_before_a_change_reads_the_certificate(
    gateway: Make, envoy: str, model_of: Make, files: tuple[Path, Path], tmp_path: Path
):
    """A key of another certificate is found before anything is published."""
    one = gateway(model_of("tiny"), tls=TlsPlan(names=NAMES))
    folder = str(one.folder)
    flat = berth_gateway.flat_bootstrap(
        berth_gateway.bootstrap(one.plan, folder),
        berth_gateway.listeners(one.plan, folder),
        berth_gateway.routes(one.plan),
        berth_gateway.clusters(one.plan, folder),
    )
    path = tmp_path / "flat.json"
    path.write_text(json.dumps(flat))
    publish(one, files, "good")
    assert subprocess.run(berth_gateway.validate_command(envoy, str(path)), check=False).returncode == 0
    files[0].write_bytes(self_signed(NAMES)[0])
    publish_again(one, files)
    check = subprocess.run(
        berth_gateway.validate_command(envoy, str(path)), check=False, capture_output=True, text=True
    )
    assert check.returncode != 0
    assert "private key" in check.stderr


def publish_again(one: Any, paths: tuple[Path, Path]) -> None:
    for path, file in zip(paths, ("certificate.pem", "key.pem"), strict=True):
        (one.folder / "tls" / "current" / file).write_bytes(path.read_bytes())
