"""The embedded default stack, as a stranger meets it: a clean clone, `make up`, the real vLLM on this machine's CPU.

The tests of this file share one deployment and run in their order; each leaves the stack as it found it, but for the
last two.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import requests
import yaml
from project import ROOT, Project, until

pytestmark = [pytest.mark.pulumi, pytest.mark.engine]

ENGINE = "tiny-main-0"


@pytest.fixture(scope="module")
def clone(cli: Path) -> Iterator[Project]:
    """A clean clone in a fresh folder."""
    with tempfile.TemporaryDirectory(prefix="berth-") as folder:  # short: a Unix socket lies in it
        root = Path(folder) / "berth"
        subprocess.run(["git", "clone", "--quiet", ROOT, root], check=True)
        made = Project(root, cli)
        yield made
        for pid in made.processes():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def deployed(clone: Project, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `make up` printed, with an empty HOME."""
    home = tmp_path_factory.mktemp("home")
    # Downloads and builds are shared between tests: what is fetched is the same, and fetching it is not what is tested.
    shared = {"BERTH_CACHE_DIR": str(_cache()), "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(_uv_cache()))}
    clone.extra = {"HOME": str(home), **shared}
    environment = {**os.environ, **clone.extra}
    for name in [name for name in environment if name.startswith("PULUMI_") or name == "VIRTUAL_ENV"]:
        del environment[name]
    done = subprocess.run(
        ["make", "up"],
        cwd=clone.root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def _cache() -> Path:
    chosen = os.environ.get("BERTH_CACHE_DIR")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "berth"


def _uv_cache() -> Path:
    return Path.home() / ".cache/uv"


@pytest.fixture(scope="module")
def client(clone: Project, deployed: str) -> openai.OpenAI:
    """The openai package's client of the gateway."""
    del deployed
    outputs = clone.outputs("dev")
    return openai.OpenAI(base_url=outputs["url"], api_key=outputs["keys"]["default"], max_retries=0, timeout=60)


def test_make_up_prints_a_curl_line_that_works_when_pasted(clone: Project, deployed: str) -> None:
    line = next(line.strip() for line in deployed.splitlines() if "curl" in line)
    own = {"HOME": clone.extra["HOME"], "PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["sh", "-c", line + " -w ' %{http_code}'"], cwd=clone.root, env=own, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith(" 200"), done.stdout
    assert '"completion_tokens"' in done.stdout


def test_make_up_says_what_it_serves_and_how_to_end_it(deployed: str) -> None:
    assert "http://127.0.0.1:8000/v1" in deployed
    assert re.search(r"tiny.*nonsense", deployed)
    assert "make down" in deployed
    assert "source .berth/env" in deployed


def test_make_up_changes_no_tracked_file(clone: Project, deployed: str) -> None:
    del deployed
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=clone.root, capture_output=True, text=True, check=True
    ).stdout
    assert status == ""


def test_the_openai_package_lists_completes_and_streams(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]
    completion = client.completions.create(model="tiny", prompt="안녕하세요", max_tokens=8)
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 8
    stream = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "Hello"}], max_tokens=8, stream=True
    )
    chunks = [chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content]
    assert len(chunks) > 1


def test_nothing_has_changed_right_after_and_it_is_known_soon(clone: Project, deployed: str) -> None:
    del deployed
    times = []
    for _ in range(2):
        begin = time.monotonic()
        clone.unchanged("dev").ok()
        times.append(time.monotonic() - begin)
    # The promise is 5 s; the benchmark measures it undisturbed, here other tests may run beside this one.
    assert min(times) < 12, times


def test_the_second_up_restarts_nothing(clone: Project, deployed: str) -> None:
    del deployed
    before = [clone.pid("dev", name) for name in (ENGINE, "gateway")]
    clone.up("dev", "--expect-no-changes").ok()
    assert [clone.pid("dev", name) for name in (ENGINE, "gateway")] == before


@pytest.mark.parametrize("victim", ["API server", "engine core"])
def test_a_killed_engine_comes_back_by_itself_as_one_tree(clone: Project, client: openai.OpenAI, victim: str) -> None:
    old = clone.pid("dev", ENGINE)
    core = _core(old)
    os.kill(old if victim == "API server" else core, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{old}").exists() and not Path(f"/proc/{core}").exists(), "the end of both", 90)
    until(lambda: _answers(client), "an answer", 180)
    engines = [pid for pid, line in clone.processes().items() if "bin/vllm serve" in line]
    assert engines == [clone.pid("dev", ENGINE)]
    assert _core(engines[0]) != core
    clone.unchanged("dev").ok()


def test_a_frozen_engine_core_leaves_the_rotation_and_returns_by_itself(clone: Project, client: openai.OpenAI) -> None:
    """Its server goes on to answer /health with 200, so only the watcher can see it."""
    core = _core(clone.pid("dev", ENGINE))
    door = str(client.base_url).removesuffix("/v1/")
    os.kill(core, signal.SIGSTOP)
    try:
        until(lambda: _health(door) == (503, {"status": "down", "models": {"tiny": "frozen"}}), "it is out", 15)
        begin = time.monotonic()
        with pytest.raises(openai.InternalServerError) as caught:
            client.completions.create(model="tiny", prompt="Hello", max_tokens=1)
        assert time.monotonic() - begin < 5, "it is refused, and waits for nothing"
        assert caught.value.response.headers["retry-after"] == "5"
    finally:
        os.kill(core, signal.SIGCONT)
    until(lambda: _answers(client), "it is back", 30)
    clone.unchanged("dev").ok()


def _health(door: str) -> tuple[int, object]:
    answer = requests.get(f"{door}/health", timeout=5)
    return answer.status_code, answer.json()


def test_each_drift_is_named_and_repaired_alone(clone: Project, client: openai.OpenAI) -> None:
    workspace = clone.workspace("dev")
    before = [clone.pid("dev", name) for name in (ENGINE, "gateway")]
    os.kill(int((workspace / "supervisor/pid").read_text()), signal.SIGKILL)
    routes = workspace / "gateway/routes.json"
    routes.write_text(routes.read_text().replace("The request body is too large", "Edited by hand"))
    next(workspace.glob("environments/vllm-cpu-*/lib/python*/site-packages/idna/core.py")).unlink()

    preview = clone.pulumi("dev", "preview", "--diff").ok().output

    assert '~ state: "stopped" => "running"' in preview
    assert '"Edited by hand.' in preview
    assert '- [0]: "idna"' in preview
    done = clone.up("dev").ok().output
    assert "~ 3 updated" in done or "3 updated" in done, done
    assert [clone.pid("dev", name) for name in (ENGINE, "gateway")] == before
    clone.unchanged("dev").ok()
    assert _answers(client)


def test_no_secret_in_plain_text(clone: Project, client: openai.OpenAI) -> None:
    key = client.api_key
    assert key not in clone.state("dev")
    preview = clone.pulumi("dev", "preview", "--diff", "--refresh").ok().output
    assert key not in preview
    for line in clone.processes().values():
        assert key not in line
    for pid in clone.processes():
        assert key.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        assert b"PULUMI_CONFIG_PASSPHRASE" not in Path(f"/proc/{pid}/environ").read_bytes()
    holding = [path for path in clone.workspace("dev").rglob("*") if _holds(path, key)]
    assert [path.name for path in holding] == ["routes.json"]
    assert holding[0].stat().st_mode & 0o077 == 0


def test_the_engine_and_the_admin_interface_listen_on_loopback_only(clone: Project, deployed: str) -> None:
    del deployed
    listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout
    stack = yaml.safe_load((clone.root / "stacks/dev.yaml").read_text())
    port = stack["gateway"]["port"]
    ours = [
        line.split()[3] for line in listening.splitlines() if re.search(rf":({port}|{port + 1}|{port + 2})\s", line)
    ]
    assert ours
    assert all(address.startswith("127.0.0.1:") for address in ours)


def test_a_changed_context_is_one_argument_and_one_restart(clone: Project, client: openai.OpenAI) -> None:
    path = clone.root / "stacks/dev.yaml"
    original = path.read_text()
    gateway, engine = clone.pid("dev", "gateway"), clone.pid("dev", ENGINE)
    try:
        path.write_text(original.replace("context: 512", "context: 384"))
        preview = clone.pulumi("dev", "preview", "--diff").ok().output
        assert re.search(r"max_model_len: 512 => 384", preview), preview
        assert "1 to update" not in preview or "tiny-main-0" in preview
        clone.up("dev").ok()
        assert clone.pid("dev", "gateway") == gateway
        assert clone.pid("dev", ENGINE) != engine
        assert _answers(client)
        clone.unchanged("dev").ok()
    finally:
        path.write_text(original)  # what is deployed is left behind it: another engine's start would show nothing new


def test_make_down_leaves_nothing(clone: Project, deployed: str) -> None:
    del deployed
    environment = {**os.environ, **clone.extra}
    subprocess.run(["make", "down"], cwd=clone.root, env=environment, check=True, capture_output=True, timeout=300)
    assert clone.processes() == {}
    assert not clone.workspace("dev").exists()
    with pytest.raises(requests.ConnectionError):
        requests.get("http://127.0.0.1:8000/health", timeout=5)
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=clone.root, capture_output=True, text=True, check=True
    ).stdout
    assert status == ""


def _core(pid: int) -> int:
    """The engine core below an API server."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text()
        except OSError:
            continue
        name, _, rest = fields.partition("(")[2].rpartition(")")
        if name.startswith("VLLM::EngineCor") and int(rest.split()[3]) == pid:
            return int(folder.name)
    return -1


def _answers(client: openai.OpenAI) -> bool:
    try:
        return bool(client.completions.create(model="tiny", prompt="Hello", max_tokens=1).choices)
    except openai.OpenAIError:
        return False


def _holds(path: Path, text: str) -> bool:
    small = path.is_file() and not path.is_symlink() and "environments" not in path.parts and path.suffix != ".sock"
    return small and text.encode() in path.read_bytes()
