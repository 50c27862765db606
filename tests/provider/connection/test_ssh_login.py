"""Who is let in and what is trusted, over a real sshd; every failure names its cause and its cure."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from berth.provider.command import shell
from berth.provider.connection import login
from berth.provider.connection.hostkey import fetch
from berth.provider.connection.settings import SshSettings
from berth.provider.errors import Unreachable
from berth.provider.host import Host
from berth.provider.http import get
from tests.ports import free_port
from tests.sshd.fixtures import Connect
from tests.sshd.server import Sshd, make_key, make_sshd

ASK = shell("echo here", says="asking")


async def why(connect: Connect, settings: SshSettings) -> str:
    """The message that a user reads."""
    with pytest.raises(Unreachable) as error:
        await connect(settings).run(ASK)
    return str(error.value)


def fingerprint(key: Path) -> str:
    listed = subprocess.run(["ssh-keygen", "-lf", str(key)], capture_output=True, text=True, check=True)
    return listed.stdout.split()[1]


def known(server: Sshd, key: str) -> str:
    return f"[127.0.0.1]:{server.port} {' '.join(key.split()[:2])}\n"


async def test_a_name_that_nobody_knows(connect: Connect, home: Path, ssh_server: Sshd) -> None:
    del home
    message = await why(connect, ssh_server.settings(host="gpu.invalid"))
    assert message.startswith(f"box: ssh {ssh_server.user}@gpu.invalid:{ssh_server.port}: the name gpu.invalid is not")
    assert "hosts.box.connection.ssh.host" in message


async def test_a_port_on_which_nobody_listens(connect: Connect, home: Path, ssh_server: Sshd) -> None:
    del home
    port = free_port()
    message = await why(connect, ssh_server.settings(port=port))
    assert "nothing listens there; start sshd on that machine, or correct hosts.box.connection.ssh.host or" in message


async def test_a_machine_that_does_not_answer(
    connect: Connect, home: Path, ssh_server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    del home
    monkeypatch.setattr(login, "CONNECT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        message = await why(connect, ssh_server.settings(port=silent.getsockname()[1]))
    assert "no answer within" in message
    assert "firewall" in message


async def test_another_host_key_than_the_pinned_one(
    connect: Connect, home: Path, ssh_server: Sshd, tmp_path: Path
) -> None:
    del home
    other = make_key(tmp_path / "other")
    pinned = other.with_suffix(".pub").read_text()
    message = await why(connect, ssh_server.settings(host_key=pinned))
    assert f"it shows ssh-ed25519 {fingerprint(ssh_server.folder / 'host.pub')}" in message
    assert f"hosts.box.connection.ssh.host_key says ssh-ed25519 {fingerprint(other)}" in message
    assert "berth hostkey 127.0.0.1" in message


async def test_a_pinned_key_of_a_kind_that_the_machine_has_not(
    connect: Connect, home: Path, ssh_server: Sshd, tmp_path: Path
) -> None:
    del home
    other = make_key(tmp_path / "other", kind="ecdsa")
    message = await why(connect, ssh_server.settings(host_key=other.with_suffix(".pub").read_text()))
    assert f"it shows ssh-ed25519 {fingerprint(ssh_server.folder / 'host.pub')}" in message
    assert f"says ecdsa-sha2-nistp256 {fingerprint(other)}" in message


async def test_a_key_of_several_is_pinned(connect: Connect, home: Path, tmp_path: Path) -> None:
    second = make_key(tmp_path / "second", kind="rsa")
    server = make_sshd(tmp_path / "sshd", f"HostKey {second}")
    with server.running():
        public = second.with_suffix(".pub").read_text()
        assert (await connect(server.settings(host_key=public)).run(ASK)).stdout == "here\n"
        (home / ".ssh/known_hosts").write_text(known(server, public))
        assert (await connect(server.settings(host_key=None)).run(ASK)).stdout == "here\n"


async def test_another_host_key_than_known_hosts_has(
    connect: Connect, home: Path, ssh_server: Sshd, tmp_path: Path
) -> None:
    other = make_key(tmp_path / "other")
    (home / ".ssh/known_hosts").write_text(known(ssh_server, other.with_suffix(".pub").read_text()))
    message = await why(connect, ssh_server.settings(host_key=None))
    assert f"known_hosts says ssh-ed25519 {fingerprint(other)}" in message


@pytest.mark.parametrize("config", ["", "Host *\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n"])
async def test_a_host_key_that_nobody_knows_is_never_trusted(
    connect: Connect, home: Path, ssh_server: Sshd, config: str
) -> None:
    (home / ".ssh/config").write_text(config)
    message = await why(connect, ssh_server.settings(host_key=None))
    assert f"its host key is not known (ssh-ed25519 {fingerprint(ssh_server.folder / 'host.pub')})" in message
    assert "`berth hostkey 127.0.0.1` prints the line to add as hosts.box.connection.ssh.host_key" in message


async def test_a_configuration_that_turns_checking_off_is_refused(
    connect: Connect, home: Path, ssh_server: Sshd
) -> None:
    (home / ".ssh/config").write_text("Host *\n  UserKnownHostsFile none\n")
    assert "no host key is checked" in await why(connect, ssh_server.settings(host_key=None))
    assert (await connect(ssh_server.settings()).run(ASK)).stdout == "here\n"


async def test_a_pinned_key_that_is_none(connect: Connect, home: Path, ssh_server: Sshd) -> None:
    del home
    message = await why(connect, ssh_server.settings(host_key="SHA256:abc"))
    assert message.startswith("hosts.box.connection.ssh.host_key: is no public key")


async def test_a_key_that_the_machine_does_not_know(
    connect: Connect, home: Path, ssh_server: Sshd, tmp_path: Path
) -> None:
    del home
    stranger = make_key(tmp_path / "stranger")
    message = await why(connect, ssh_server.settings(key_file=str(stranger)))
    assert f"the machine refused the login with the key {stranger}" in message
    assert "authorized_keys" in message


@pytest.mark.parametrize("own_ssh_server", [("MaxAuthTries 1",)], indirect=True)
async def test_more_keys_than_the_machine_tries(connect: Connect, home: Path, own_ssh_server: Sshd) -> None:
    make_key(home / ".ssh/id_ed25519")
    message = await why(connect, own_ssh_server.settings(key_file=None))
    assert "Too many authentication failures" in message
    assert "name one in hosts.box.connection.ssh.key_file" in message


async def test_key_files_that_cannot_be_used(connect: Connect, home: Path, ssh_server: Sshd, tmp_path: Path) -> None:
    del home
    absent = await why(connect, ssh_server.settings(key_file=str(tmp_path / "absent")))
    assert f"the key file {tmp_path}/absent cannot be used (No such file or directory)" in absent
    protected = make_key(tmp_path / "protected", "sesame")
    message = await why(connect, ssh_server.settings(key_file=str(protected)))
    assert "ssh-add" in message
    assert "sesame" not in message


@pytest.fixture
def agent(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An agent that holds a key, and the key's file, which a passphrase protects."""
    protected = make_key(home / "protected", "sesame")
    plain = home / "plain"
    plain.write_bytes(protected.read_bytes())
    plain.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "sesame", "-N", "", "-f", str(plain)], check=True)
    # the agent lives as long as the command that it runs
    process = subprocess.Popen(
        [
            "ssh-agent",
            "-a",
            str(home / "agent"),
            "sh",
            "-c",
            'ssh-add -q "$1"; rm "$1"; echo; read -r _',
            "sh",
            str(plain),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "agent"))
        yield protected


async def test_a_protected_key_is_used_through_its_agent(connect: Connect, agent: Path, own_ssh_server: Sshd) -> None:
    (own_ssh_server.folder / "authorized_keys").write_text(agent.with_suffix(".pub").read_text())
    assert (await connect(own_ssh_server.settings(key_file=str(agent))).run(ASK)).stdout == "here\n"
    assert (await connect(own_ssh_server.settings(key_file=None)).run(ASK)).stdout == "here\n"


async def test_an_alias_of_the_ssh_configuration(connect: Connect, home: Path, ssh_server: Sshd) -> None:
    (home / ".ssh/config").write_text(
        f"Host gpu-1\n  HostName 127.0.0.1\n  Port {ssh_server.port}\n  User {ssh_server.user}\n"
        f"  IdentityFile {ssh_server.key}\n  RemoteCommand false\n  RequestTTY yes\n"
    )
    (home / ".ssh/known_hosts").write_text(known(ssh_server, ssh_server.host_key))
    assert (await connect(SshSettings(host="gpu-1")).run(ASK)).stdout == "here\n"


async def test_over_another_machine(connect: Connect, home: Path, ssh_server: Sshd, own_ssh_server: Sshd) -> None:
    (home / ".ssh/config").write_text(f"Host 127.0.0.1\n  IdentityFile {ssh_server.key}\n")
    jump = f"{ssh_server.user}@127.0.0.1:{ssh_server.port}"
    settings = own_ssh_server.settings(host="localhost", proxy_jump=jump)
    message = await why(connect, settings)
    assert message.startswith(f"box: ssh over {jump}: its host key is not known")
    assert "known_hosts" in message
    (home / ".ssh/known_hosts").write_text(known(ssh_server, ssh_server.host_key))
    assert (await connect(settings).run(ASK)).stdout == "here\n"
    # and as the ssh configuration says it
    with (home / ".ssh/config").open("a") as config:
        config.write(f"Host *\n  ProxyJump {jump}\n")
    found = await fetch("localhost", port=own_ssh_server.port)
    assert found.public.split()[:2] == own_ssh_server.host_key.split()[:2]
    own_ssh_server.stop()
    message = await why(connect, own_ssh_server.settings(host="localhost"))
    assert "the machine on the way does not get through to it" in message


async def test_the_key_to_pin_is_printed(connect: Connect, home: Path, ssh_server: Sshd) -> None:
    (home / ".ssh/config").write_text("Host *\n  UserKnownHostsFile none\n")
    found = await fetch("127.0.0.1", port=ssh_server.port)
    text = found.text("127.0.0.1")
    assert fingerprint(ssh_server.folder / "host.pub") in text
    line = next(line for line in text.splitlines() if "host_key: " in line)
    pinned = ssh_server.settings(host_key=line.split(": ", 1)[1])
    assert (await connect(pinned).run(ASK)).stdout == "here\n"


async def test_no_key_of_a_machine_that_does_not_answer(home: Path) -> None:
    del home
    port = free_port()
    with pytest.raises(Unreachable, match="nothing listens there"):
        await fetch("127.0.0.1", port=port)


@pytest.mark.parametrize("own_ssh_server", [("ForceCommand echo 'Please select a pod'; exit 1",)], indirect=True)
async def test_a_login_that_runs_no_commands(connect: Connect, home: Path, own_ssh_server: Sshd) -> None:
    del home
    message = await why(connect, own_ssh_server.settings())
    assert "box: asking: the login there runs no commands (status 1); it said: Please select a pod" in message


@pytest.mark.parametrize(
    "own_ssh_server",
    [('ForceCommand echo hello; echo hello >&2; printf half; sh -c "$SSH_ORIGINAL_COMMAND"',)],
    indirect=True,
)
async def test_what_the_login_itself_writes_is_no_output(connect: Connect, home: Path, own_ssh_server: Sshd) -> None:
    del home
    result = await connect(own_ssh_server.settings()).run(ASK)
    assert (result.stdout, result.stderr) == ("here\n", "")


@pytest.fixture
def web() -> Iterator[int]:
    """A loopback port that answers HTTP."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.path.encode())

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


async def test_a_loopback_port_there_is_reached_from_here(
    connect: Connect, home: Path, ssh_server: Sshd, web: int
) -> None:
    del home
    connection = connect(ssh_server.settings())
    host = Host(name="box", workspace="/", connection=connection, say=lambda _: None)
    answers = await asyncio.gather(*(get(host, web, f"/{number}") for number in range(12)))
    assert [answer and answer.text for answer in answers] == [f"/{number}" for number in range(12)]


async def test_a_port_there_on_which_nobody_listens_answers_nothing(
    connect: Connect, home: Path, ssh_server: Sshd
) -> None:
    del home
    port = free_port()
    host = Host(name="box", workspace="/", connection=connect(ssh_server.settings()), say=lambda _: None)
    assert await get(host, port, "/") is None


@pytest.mark.parametrize("own_ssh_server", [("AllowTcpForwarding no",)], indirect=True)
async def test_a_machine_that_forwards_nothing_says_so(
    connect: Connect, home: Path, own_ssh_server: Sshd, web: int
) -> None:
    del home
    connection = connect(own_ssh_server.settings())
    with pytest.raises(Unreachable, match="the sshd there forwards no ports; set AllowTcpForwarding yes"):
        async with connection.forward(web):
            pass
