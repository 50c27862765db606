"""What a test cluster is made of: programs built from Go modules and files out of them, kept in the test cache.

`python -m tests.cluster.parts` makes what is missing, one build after the other: half an hour on two cores. So it does
with Pulumi's plugin for Kubernetes, which is the longest of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.machines.engine import Unavailable, cache_folder
from tests.machines.image import alone

KUBERNETES = "1.36.3"
KSERVE = "0.17.0"
"""The release whose controller runs."""
CRDS = ("0.16.0", KSERVE, "0.20.0")
"""The releases of KServe whose CRDs are at hand."""
KWOK = "0.8.0"
OPENSHIFT = "v0.0.0-20251015095338-264e80a2b6e7"
"""Of github.com/openshift/api, whose releases have no tags."""

BUILD_S = 3600.0
_ROOT = Path(__file__).resolve().parents[2]
_GO = Path(__file__).parent / "go"
_KUBERNETES_SAYS = (
    f"-X k8s.io/component-base/version.gitVersion=v{KUBERNETES}"
    f" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor={KUBERNETES.split('.')[1]}"
)


@dataclass(frozen=True)
class Build:
    """Programs of one go.mod in `go/<module>`: what each is called here, and how its package ends."""

    module: str
    programs: Mapping[str, str]
    ldflags: str = ""

    @property
    def folder(self) -> Path:
        """Where its programs are kept: another recipe, another folder."""
        digest = hashlib.sha256(repr((sorted(self.programs.items()), self.ldflags)).encode())
        for name in ("go.mod", "go.sum"):
            digest.update((_GO / self.module / name).read_bytes())
        return cache_folder() / f"cluster-{self.module}-{digest.hexdigest()[:12]}"


BUILDS = (
    Build(
        "kubernetes",
        {
            "etcd": "go.etcd.io/etcd/server/v3",
            **{
                name: f"k8s.io/kubernetes/cmd/{name}"
                for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
            },
        },
        _KUBERNETES_SAYS,
    ),
    Build("kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}),
    Build("kserve", {"kserve": "github.com/kserve/kserve/cmd/manager"}),
)
LLM = Build("llmisvc", {"llmisvc": "github.com/kserve/kserve/cmd/llmisvc"})
"""KServe's second controller, which few tests ask for."""

_FILES: Mapping[str, Sequence[tuple[str, str]]] = {
    **{
        f"github.com/kserve/kserve@v{version}": [("config/crd/full/**/serving.kserve.io_*.yaml", f"kserve-{version}")]
        for version in CRDS
    },
    f"github.com/openshift/api@{OPENSHIFT}": [("route/v1/zz_generated.crd-manifests/routes.crd.yaml", "openshift")],
    f"sigs.k8s.io/kwok@v{KWOK}": [
        ("kustomize/stage/node/fast/node-*.yaml", "stages"),
        ("kustomize/stage/pod/fast/pod-*.yaml", "stages"),
    ],
}
LLM_PRESETS = ("template", "worker-data-parallel", "router-route")
"""The presets of its controller for LLMInferenceServices that ours can meet."""
_CONTROLLER = (
    ("config/webhook/manifests.yaml", "webhooks.json"),
    ("config/configmap/inferenceservice.yaml", "configuration.json"),
    ("config/storagecontainers/default.yaml", "storage.json"),
    ("config/webhook/llmisvc/manifests.yaml", "llm-webhooks.json"),
    *((f"config/llmisvcconfig/config-llm-{name}.yaml", f"llm-{name}.json") for name in LLM_PRESETS),
    # Of other projects, as KServe's own tests have them.
    ("test/crds/leaderworkerset.x-k8s.io_leaderworkersets.yaml", "leaderworkersets.json"),
    ("test/crds/gatewayapi_httproute.yaml", "httproutes.json"),
    ("test/crds/gatewayapi_gateway.yaml", "gateways.json"),
    ("test/crds/knative_service.yaml", "knative.json"),
)


@dataclass(frozen=True)
class Parts:
    """The programs by name, and the folder of the files.

    The files hold lists of objects: `kserve-VERSION/`, `openshift/` and `stages/`, and of the controller's release
    `webhooks.json`, `configuration.json`, `storage.json` and more.
    """

    programs: Mapping[str, Path]
    files: Path

    def objects(self, path: str) -> list[Any]:
        """The objects of a file below `files`, without its ending."""
        found: list[Any] = json.loads((self.files / f"{path}.json").read_text())
        return found


def parts() -> Parts:
    """All parts, made first where the cache does not have them.

    Raises:
        Unavailable: something is missing and cannot be made here.
    """
    with alone("cluster"):
        for build in BUILDS:
            if not build.folder.exists():
                _build(build)
        files = _files()
    return Parts({name: build.folder / name for build in BUILDS for name in build.programs}, files)


def llm() -> Path:
    """KServe's controller for LLMInferenceServices, built first where the cache does not have it.

    Raises:
        Unavailable: it cannot be built here.
    """
    with alone("cluster"):
        if not LLM.folder.exists():
            _build(LLM)
    return LLM.folder / "llmisvc"


def _build(build: Build) -> None:
    new = build.folder.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    # As Pulumi is built, so that both find in Go's cache what they have in common.
    flags = ["-mod=readonly", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags", f"-s -w {build.ldflags}".strip()]
    _go(["go", "build", *flags, "-o", f"{new}/", *build.programs.values()], _GO / build.module)
    for name, package in build.programs.items():
        last = [part for part in package.split("/") if part != "v3"][-1]  # a major version names no program
        (new / last).rename(new / name)
    new.rename(build.folder)
    for old in cache_folder().glob(f"cluster-{build.module}-*"):
        if old != build.folder:
            shutil.rmtree(old, ignore_errors=True)


def _files() -> Path:
    wanted = hashlib.sha256(repr((_FILES, _CONTROLLER)).encode()).hexdigest()[:12]
    folder = cache_folder() / f"cluster-files-{wanted}"
    if not folder.exists():
        new = folder.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        for module, patterns in _FILES.items():
            source = _source(module)
            for pattern, name in patterns:
                (new / name).mkdir(parents=True, exist_ok=True)
                for file in source.glob(pattern):
                    _convert(file, new / name / f"{file.stem}.json")
        source = _source(f"github.com/kserve/kserve@v{KSERVE}")
        for path, name in _CONTROLLER:
            _convert(source / path, new / name)
        new.rename(folder)
        for old in cache_folder().glob("cluster-files-*"):
            if old != folder:
                shutil.rmtree(old, ignore_errors=True)
    return folder


def _convert(source: Path, to: Path) -> None:
    """Keeps the objects of a YAML file as JSON, which is read some hundred times faster."""
    to.write_text(json.dumps(list(yaml.load_all(source.read_text(), yaml.CSafeLoader))))


def _source(module: str) -> Path:
    return Path(json.loads(_go(["go", "mod", "download", "-json", module], Path("/")))["Dir"])


def _go(argv: Sequence[str], folder: Path) -> bytes:
    if shutil.which("go") is None:
        raise Unavailable("go is missing here, which builds the cluster's parts")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-buildvcs=false"}
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, timeout=BUILD_S, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace")[-2000:]
        raise Unavailable(f"{' '.join(argv[:3])} of {folder.name} failed: {said}")
    return done.stdout


def plugin() -> Path:
    """Pulumi's plugin for Kubernetes, fetched or built once: its folder below a PULUMI_HOME of all tests.

    Raises:
        Unavailable: it cannot be had.
    """
    home = {"PULUMI_HOME": str(cache_folder() / "cluster-pulumi-home")}
    command = [sys.executable, "-m", "bootstrap", "--quiet", "kubernetes"]
    done = subprocess.run(
        command, cwd=_ROOT, env={**os.environ, **home}, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise Unavailable("Pulumi's plugin for Kubernetes cannot be had; see the lines above")
    return Path(done.stdout.strip())


if __name__ == "__main__":
    try:
        parts()
        llm()
        plugin()
    except Unavailable as reason:
        sys.exit(str(reason))
