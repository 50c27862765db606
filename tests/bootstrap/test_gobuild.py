"""The build from Go modules: which Go serves, what a failure says, and that finished programs survive interruptions."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap import gobuild, plugins
from bootstrap.cache import Cache
from bootstrap.errors import BootstrapError
from bootstrap.pins import DOCKER, FOLDER, KUBERNETES, NAMES, PLUGINS, PROGRAMS, PULUMI, SCRIPTS, Program
from bootstrap.progress import Progress
from tests.processor_time import of_children


@pytest.mark.parametrize(
    ("version", "toolchain", "serves"),
    [
        ("go1.26.0", "local", True),
        ("go1.27rc1", "local", True),
        ("go1.26.8", "auto", True),
        ("go1.25.9", "local", False),
        ("go1.25.9", "auto", True),
        ("go1.21.0", "go1.26.0+auto", True),
        ("go1.20.14", "", False),
        ("devel +abc", "auto", False),
        ("", "", False),
    ],
)
def test_decides_whether_a_go_serves(version: str, toolchain: str, *, serves: bool) -> None:
    if serves:
        gobuild.judge(version, toolchain)
    else:
        with pytest.raises(BootstrapError, match=r"must be 1\.26 or newer; install it"):
            gobuild.judge(version, toolchain)


def test_modules_that_are_here_need_less_room() -> None:
    assert gobuild.room_needed(modules_here=True) < gobuild.room_needed(modules_here=False)


def test_every_pin_is_in_a_committed_go_sum() -> None:
    for item in (*PROGRAMS, *SCRIPTS):
        folder = FOLDER / "go" / item.module
        required = dict(
            re.findall(r"(github\.com/pulumi/pulumi/\S+) (v\S+)", (folder / "go.mod").read_text(encoding="utf-8"))
        )
        path = item.package if isinstance(item, Program) else item.dependency
        module = next(module for module in required if path.startswith(module))
        assert f"{module} {required[module]} h1:" in (folder / "go.sum").read_text(encoding="utf-8")
    assert f"pkg/v3 v{PULUMI}\n" in (FOLDER / "go" / "pulumi" / "go.mod").read_text(encoding="utf-8")


def test_a_flag_changes_the_recipe_and_a_word_for_the_user_does_not() -> None:
    program = PROGRAMS[0]
    assert gobuild.recipe(replace(program, ldflags="-s")) != gobuild.recipe(program)
    assert gobuild.recipe(replace(program, usually="an hour")) == gobuild.recipe(program)
    assert len({gobuild.recipe(item) for item in (*PROGRAMS, *SCRIPTS)}) == len(NAMES)


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A stand-in for a Go that misbehaves: its `build` runs the given lines of shell."""

    def make(build: str) -> Path:
        folder = tmp_path / "go-bin"
        folder.mkdir(exist_ok=True)
        source = tmp_path / "module"
        for script in SCRIPTS:
            (source / script.path).parent.mkdir(parents=True, exist_ok=True)
            (source / script.path).write_text("#!/bin/sh\n")
        (folder / "go").write_text(
            f"""#!/bin/sh
echo "$@" >> {tmp_path}/calls
case "$1" in
env)
  case "$2" in
  GOVERSION) printf 'go1.26.1\\nlocal\\n' ;;
  *) printf '%s\\n%s\\n' {tmp_path} {tmp_path} ;;
  esac ;;
mod) echo '{json.dumps({"Dir": str(source)})}' ;;
build)
  while [ "$1" != -o ]; do shift; done
  out=$2
  {build}
  ;;
esac
"""
        )
        (folder / "go").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        monkeypatch.delenv("GOPROXY", raising=False)
        return tmp_path / "calls"

    return make


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (
            'pulumi: Get "https://proxy.test/x.mod": dial tcp: lookup proxy.test: no such host',
            "the Go module proxy: cannot be reached, must be; check the network, or name a mirror in GOPROXY",
        ),
        ("dial tcp 10.0.0.1:443: connect: connection refused", "cannot be reached"),
        ("net/http: TLS handshake timeout", "cannot be reached"),
        ("link: write /x: no space left on device", "disk: is full, must have room; free some, or point GOMODCACHE"),
        ("go: go.mod requires go >= 1.26 (running go 1.24.1; GOTOOLCHAIN=local)", "go: is too old"),
        ("verifying module: checksum mismatch", "differs from go.sum"),
        ("compile: signal: killed", "memory: ran out"),
        ("something nobody has seen", "the tool's last lines:\n  something nobody has seen"),
    ],
)
def test_a_failed_build_says_what_to_do(
    go: Callable[[str], Path], progress: Progress, tmp_path: Path, output: str, message: str
) -> None:
    go(f"echo '{output}' >&2; exit 1")
    with pytest.raises(BootstrapError) as failure:
        gobuild.build(Cache(tmp_path / "cache"), progress)
    assert str(failure.value).startswith("building pulumi: failed; ")
    assert message in str(failure.value)
    assert output in str(failure.value)
    assert not list((tmp_path / "cache").iterdir())


def test_a_machine_without_go_is_told_so(progress: Progress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(BootstrapError, match=r"go: is not installed, must be 1\.26 or newer, because"):
        gobuild.build(Cache(tmp_path), progress)


def test_a_full_disk_is_found_out_before_the_work(
    go: Callable[[str], Path], progress: Progress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = go("echo unused > $out")
    monkeypatch.setattr(gobuild, "room_needed", lambda **_: 10.0**9)
    with pytest.raises(BootstrapError, match=r"GiB free, must have .* to build Pulumi; free some, or set GOMODCACHE"):
        gobuild.build(Cache(tmp_path / "cache"), progress)
    assert "build" not in calls.read_text()


def test_an_own_go_workspace_does_not_leak_in(
    go: Callable[[str], Path], progress: Progress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(f'env > {tmp_path}/environment; echo "#!/bin/sh" > "$out"')
    monkeypatch.setenv("GOFLAGS", "-mod=mod")
    monkeypatch.setenv("GOWORK", "/home/me/go.work")
    gobuild.build(Cache(tmp_path / "cache"), progress)
    seen = (tmp_path / "environment").read_text().splitlines()
    assert {"GOFLAGS=-buildvcs=false", "GOWORK=off", "CGO_ENABLED=0"} <= set(seen)


def test_what_was_finished_before_a_kill_is_not_built_again(go: Callable[[str], Path], tmp_path: Path) -> None:
    calls = go(
        f"""case "$out" in
  *language-python) touch {tmp_path}/second; [ -e {tmp_path}/go-on ] || exec sleep 60 ;;
  esac
  echo "#!/bin/sh" > "$out" """
    )
    command = [sys.executable, "-m", "bootstrap", "pulumi", "--source", "build"]
    environment = os.environ | {"BERTH_CACHE_DIR": str(tmp_path / "cache")}
    first = subprocess.Popen(command, cwd=FOLDER.parent, env=environment, stderr=subprocess.PIPE, text=True)
    assert first.stderr is not None
    for line in first.stderr:
        if "building pulumi-language-python" in line:
            break
    first.send_signal(signal.SIGTERM)
    assert "interrupted; what was finished is kept" in first.communicate()[1]
    assert first.returncode == 130

    (tmp_path / "go-on").touch()
    built = calls.read_text().count("build -v")
    done = subprocess.run(command, cwd=FOLDER.parent, env=environment, capture_output=True, text=True, check=True)
    assert calls.read_text().count("build -v") == built + 1
    assert "building pulumi from" not in done.stderr
    assert {path.name for path in Path(done.stdout.strip()).iterdir()} == set(NAMES)

    begin, before = of_children(), calls.read_text()
    subprocess.run(command, cwd=FOLDER.parent, env=environment, check=True, capture_output=True)
    assert of_children() - begin < 1
    assert calls.read_text() == before


def test_two_at_once_build_once(go: Callable[[str], Path], tmp_path: Path) -> None:
    calls = go('sleep 0.3; echo "#!/bin/sh" > "$out"')
    command = [sys.executable, "-m", "bootstrap", "pulumi", "--source", "build"]
    environment = os.environ | {"BERTH_CACHE_DIR": str(tmp_path / "cache")}
    both = [
        subprocess.Popen(command, cwd=FOLDER.parent, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [process.communicate()[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert calls.read_text().count("build -v") == len(PROGRAMS)
    assert sum("waiting for another bootstrap" in text for text in said) == 1


@pytest.mark.parametrize(
    ("name", "version", "made_of"),
    [
        ("docker", DOCKER, "github.com/pulumi/pulumi-terraform-bridge/v3"),
        ("kubernetes", KUBERNETES, "github.com/pulumi/pulumi-kubernetes/provider/v4"),
    ],
)
def test_a_plugin_is_pinned_and_its_program_changes_its_recipe(
    name: str, version: str, made_of: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = PLUGINS[name].program
    assert PLUGINS[name].folder == f"resource-{name}-v{version}"
    project = FOLDER.parent
    assert any(f"pulumi-{name}=={version} " in file.read_text("utf-8") for file in project.glob("requirements*.txt"))
    folder = FOLDER / "go" / program.module
    needed = dict(re.findall(r"^(?:require|\t)\s*(\S+) (v\S+)$", (folder / "go.mod").read_text("utf-8"), re.MULTILINE))
    assert f"{made_of} {needed[made_of]} h1:" in (folder / "go.sum").read_text(encoding="utf-8")
    copy = tmp_path / "go" / program.module
    shutil.copytree(folder, copy)
    before = gobuild.recipe(program)
    monkeypatch.setattr(gobuild, "FOLDER", tmp_path)
    assert gobuild.recipe(program) == before
    (copy / "main.go").write_text("package main\n", encoding="utf-8")
    assert gobuild.recipe(program) != before


def test_files_of_ours_take_the_place_of_a_dependency_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, progress: Progress
) -> None:
    program = PLUGINS["kubernetes"].program
    (file,) = [path for path in (FOLDER / "go/kubernetes/_instead").rglob("*") if path.is_file()]
    inside = file.relative_to(FOLDER / "go/kubernetes/_instead")
    theirs = tmp_path / "cache" / inside
    theirs.parent.mkdir(parents=True)
    theirs.write_text("package provider\n")
    theirs.chmod(0o444)
    (tmp_path / "cache/go.mod").write_text("module theirs\n")
    monkeypatch.setattr(gobuild, "_module", lambda *_: tmp_path / "cache")
    (tmp_path / "work").mkdir()
    made = gobuild._replaced("go", program, tmp_path / "work", progress)
    assert (tmp_path / "work/dependency" / inside).read_bytes() == file.read_bytes()
    assert (tmp_path / "work/dependency/go.mod").read_text() == "module theirs\n"
    assert made.read_text().endswith(f"\nreplace {program.instead} => {tmp_path}/work/dependency\n")
    assert (made.parent / "go.sum").read_bytes() == (FOLDER / "go/kubernetes/go.sum").read_bytes()
    assert theirs.read_text() == "package provider\n"


def test_a_built_plugin_is_put_where_pulumi_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, progress: Progress
) -> None:
    plugin = PLUGINS["docker"]
    monkeypatch.setenv("BERTH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    made = Cache(tmp_path / "cache/plugins" / plugin.folder)
    with made.workplace() as work:
        (work / "built").write_bytes(b"program")
        made.put(plugin.program.name, work / "built", gobuild.recipe(plugin.program))
    folder = plugins.ensure(plugin, progress, "build")
    assert folder == tmp_path / "home/plugins" / plugin.folder
    assert (folder / plugin.program.name).read_bytes() == b"program"
    assert plugins.ensure(plugin, progress, "installed") == folder
    (folder / plugin.program.name).unlink()
    with pytest.raises(BootstrapError, match="is not there, must be"):
        plugins.ensure(plugin, progress, "installed")
