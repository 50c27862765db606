"""Pulumi built from Go modules: for networks that mirror language registries and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bootstrap.cache import Cache
from bootstrap.command import run
from bootstrap.errors import BootstrapError, explain
from bootstrap.pins import FOLDER, GO, PROGRAMS, SCRIPTS, Program, Script
from bootstrap.progress import Progress

_COLD_GIB, _WARM_GIB = 5.0, 1.5  # modules 1.9, build cache 1.7, linking and results 0.4, each with some air


def recipe(item: Program | Script) -> str:
    """What a file is made from: changes when a pin, a checksum or a flag does."""
    how = (item.package, item.ldflags) if isinstance(item, Program) else (item.dependency, item.path)
    digest = hashlib.sha256(" ".join((item.name, *how)).encode())
    for name in ("go.mod", "go.sum", "main.go", "schema.json"):
        source = FOLDER / "go" / item.module / name
        digest.update(source.read_bytes() if source.exists() else b"")
    for file in sorted((FOLDER / "go" / item.module / "_instead").rglob("*.go")):
        digest.update(file.read_bytes())
    return f"go {digest.hexdigest()[:16]}"


def build(
    cache: Cache,
    progress: Progress,
    programs: Sequence[Program] = PROGRAMS,
    scripts: Sequence[Script] = SCRIPTS,
) -> None:
    """Build what the cache lacks; called by the holder of its lock. What is finished stays finished.

    Raises:
        BootstrapError: Go, room on the disk or the module proxy is missing, or a build failed.
    """
    go = _go()
    _room(go, cache)
    for program in programs:
        if not cache.has(program.name, recipe(program)):
            with cache.workplace() as folder:
                cache.put(program.name, _compile(go, program, folder, progress), recipe(program))
    for script in scripts:
        if not cache.has(script.name, recipe(script)):
            with cache.workplace() as folder:
                copy = folder / script.name
                shutil.copyfile(_module(go, script, progress) / script.path, copy)
                cache.put(script.name, copy, recipe(script))


def judge(version: str, toolchain: str) -> None:
    """Decides whether a Go serves.

    Args:
        version: `go env GOVERSION`, such as `go1.26.3`.
        toolchain: `go env GOTOOLCHAIN`; anything but `local` lets a Go since 1.21 fetch the newer one by itself.

    Raises:
        BootstrapError: it is too old.
    """
    found = re.match(r"go(\d+)\.(\d+)", version)
    have = (int(found[1]), int(found[2])) if found else None
    fetches = toolchain != "local" and have is not None and have >= (1, 21)
    if have is None or (have < GO and not fetches):
        want = f"{GO[0]}.{GO[1]}"
        raise BootstrapError(
            f"go: is {version.removeprefix('go') or 'unknown'}, must be {want} or newer; "
            f"install it from go.dev/dl or your distribution, or set GOTOOLCHAIN=auto"
        )


def room_needed(*, modules_here: bool) -> float:
    """Free space that a build asks for, in GiB."""
    return _WARM_GIB if modules_here else _COLD_GIB


def _go() -> str:
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        raise BootstrapError(
            f"go: is not installed, must be {GO[0]}.{GO[1]} or newer, because this is neither installed nor "
            f"downloadable here and is built from Go modules; install Go (go.dev/dl or your distribution), "
            f"or put a Pulumi CLI on PATH"
        )
    judge(*_settings(go, "GOVERSION", "GOTOOLCHAIN"))
    return go


def _settings(go: str, *names: str) -> list[str]:
    """Go's own view of its settings; outside any module, so that no go.mod asks for another toolchain."""
    done = subprocess.run([go, "env", *names], capture_output=True, text=True, check=False, cwd="/", env=_environment())
    if done.returncode:
        raise BootstrapError(f"go: `{go} env` fails, must work: {done.stderr.strip()[:300]}")
    return [line.strip() for line in done.stdout.split("\n")[: len(names)]]


def _room(go: str, cache: Cache) -> None:
    """Refuses to begin what the disk cannot hold: a full disk after four minutes helps nobody."""
    modules, built = (Path(text) for text in _settings(go, "GOMODCACHE", "GOCACHE"))
    here = (modules / "github.com/pulumi/pulumi/pkg" / "v3@v3.250.0").is_dir()
    for what, path in (("GOMODCACHE", modules), ("GOCACHE", built), ("BERTH_CACHE_DIR", cache.folder)):
        existing = next(parent for parent in (path, *path.parents) if parent.exists())
        free, need = shutil.disk_usage(existing).free / 2**30, room_needed(modules_here=here)
        if free < need:
            raise BootstrapError(
                f"disk: {existing} has {free:.1f} GiB free, must have {need:.1f} to build Pulumi; "
                f"free some, or set {what} to a place with room"
            )


def _compile(go: str, program: Program, folder: Path, progress: Progress) -> Path:
    out = folder / program.name
    argv: list[str | Path] = [
        go,
        "build",
        "-v",
        "-mod=readonly",
        # No debug information is made, which the linker would only drop: an eighth of the compiler's time.
        "-gcflags=all=-dwarf=false",
        "-trimpath",
        *((f"-modfile={_replaced(go, program, folder, progress)}",) if program.instead is not None else ()),
        "-ldflags",
        program.ldflags,
        "-o",
        out,
        program.package,
    ]
    label = f"building {program.name} from Go modules; usually {program.usually} on two cores, less when run again"
    code, output = run(argv, progress, label, cwd=_source(program), env=_environment(), count=_count)
    if code:
        raise BootstrapError(f"building {program.name}: failed; " + _explain(output))
    return out


def _replaced(go: str, program: Program, folder: Path, progress: Progress) -> Path:
    """A go.mod in `folder` that has a copy of a dependency with files of ours, since Go's cache is not written to."""
    source, copy = _source(program), folder / "dependency"
    shutil.copytree(_module(go, program, progress), copy, copy_function=shutil.copyfile)
    for file in (source / "_instead").rglob("*.go"):
        shutil.copyfile(file, copy / file.relative_to(source / "_instead"))
    shutil.copyfile(source / "go.sum", folder / "go.sum")
    pinned = (source / "go.mod").read_text(encoding="utf-8")
    (folder / "go.mod").write_text(f"{pinned}\nreplace {program.instead} => {copy}\n", encoding="utf-8")
    return folder / "go.mod"


def _module(go: str, item: Program | Script, progress: Progress) -> Path:
    """The folder of a dependency's files in Go's cache."""
    dependency = item.dependency if isinstance(item, Script) else str(item.instead)
    argv = [go, "mod", "download", "-json", dependency]
    label = f"copying {item.name}" if isinstance(item, Script) else f"copying {dependency}"
    code, output = run(argv, progress, label, cwd=_source(item), env=_environment())
    if code:
        raise BootstrapError(f"{label}: failed; " + _explain(output))
    return Path(json.loads(output[output.index("{") :])["Dir"])


def _source(item: Program | Script) -> Path:
    return FOLDER / "go" / item.module


def _environment() -> dict[str, str]:
    """Plain Go programs, from this go.mod alone, whatever workspace or flags surround it."""
    return os.environ | {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-buildvcs=false"}


def _count(line: str) -> str | None:
    if line.startswith("go: downloading"):
        return "modules downloaded"
    return "packages compiled" if re.fullmatch(r"[\w.\-/]+", line) else None


def _explain(output: str) -> str:
    proxy = os.environ.get("GOPROXY") or "the Go module proxy"
    return explain(output, registry=proxy, mirror="GOPROXY", where="GOMODCACHE and GOCACHE")
