"""etcd and kube-apiserver as plain processes: a Kubernetes API that stores and checks, and runs nothing."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.cluster import certificate
from tests.cluster.parts import Parts
from tests.machines.engine import Unavailable
from tests.ports import free_port, free_ports

START_S = 120.0
TOKEN = "berth-test-administrator"
_READ_S = 120.0  # of a machine under load, where large definitions take long


class ControlPlane:
    """An API server with its store. `folder` holds everything of it; `kubeconfig` is an administrator's."""

    def __init__(self, parts: Parts, folder: Path) -> None:
        self.parts = parts
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {TOKEN}"
        self._session.verify = str(folder / "tls.crt")
        self._session.trust_env = False
        self.url = ""

    def start(self) -> None:
        """Starts both and waits until the API is ready.

        Raises:
            Unavailable: it ended instead.
        """
        certificate.write(self.folder)
        (self.folder / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
        store, peers, port = *free_ports(2), free_port()
        self.url = f"https://127.0.0.1:{port}"
        self.kubeconfig.write_text(yaml.safe_dump(self._config()))
        self.run(
            "etcd",
            *("--data-dir", self.folder / "etcd", "--unsafe-no-fsync", "--log-level", "error"),
            *("--listen-client-urls", f"http://127.0.0.1:{store}"),
            *("--advertise-client-urls", f"http://127.0.0.1:{store}"),
            *("--listen-peer-urls", f"http://127.0.0.1:{peers}"),
            *("--initial-advertise-peer-urls", f"http://127.0.0.1:{peers}"),
            *("--initial-cluster", f"default=http://127.0.0.1:{peers}"),
        )
        self.until(lambda: requests.get(f"http://127.0.0.1:{store}/readyz", timeout=_READ_S).ok, "etcd")
        self.run(
            "kube-apiserver",
            *("--etcd-servers", f"http://127.0.0.1:{store}"),
            *("--bind-address", "127.0.0.1", "--secure-port", str(port), "--cert-dir", self.folder / "apiserver"),
            *("--tls-cert-file", self.folder / "tls.crt", "--tls-private-key-file", self.folder / "tls.key"),
            *("--token-auth-file", self.folder / "tokens.csv", "--authorization-mode", "RBAC"),
            *("--service-account-issuer", "https://kubernetes.default.svc"),
            *("--service-account-key-file", self.folder / "tls.key"),
            *("--service-account-signing-key-file", self.folder / "tls.key"),
            *("--service-cluster-ip-range", "10.96.0.0/16", "--advertise-address", "198.51.100.1"),
        )
        self.until(lambda: self._session.get(f"{self.url}/readyz", timeout=_READ_S).ok, "kube-apiserver")

    def stop(self) -> None:
        """Ends every process at once: nothing of it is wanted any more, and the API server takes its time."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        self._processes.clear()
        self._session.close()

    def run(
        self,
        program: str,
        *arguments: str | Path,
        environment: Mapping[str, str] | None = None,
        path: Path | None = None,
    ) -> None:
        """Starts a program of the parts, or of `path`; its output goes to `<program>.log` in the folder."""
        with (self.folder / f"{program}.log").open("wb") as log:
            self._processes[program] = subprocess.Popen(
                [path or self.parts.programs[program], *arguments],
                cwd=self.folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def until(self, condition: Callable[[], Any], what: str, limit_s: float = START_S) -> Any:
        """Waits until a condition holds and gives what it gave; a server that does not answer yet is no failure.

        Raises:
            Unavailable: it did not come, or one of the processes ended.
        """
        end = time.monotonic() + limit_s
        while True:
            try:
                if value := condition():
                    return value
            except requests.RequestException:
                pass
            ended = [name for name, process in self._processes.items() if process.poll() is not None]
            if ended or time.monotonic() > end:
                name = ended[0] if ended else what
                why = f"{name} ended" if ended else f"{what} was not there within {limit_s:.0f} s"
                raise Unavailable(f"{why}; its last lines:\n{self._tail(name)}")
            time.sleep(0.05)

    def get(self, path: str) -> dict[str, Any] | None:
        """An object or a list by its path; None where there is none."""
        answer = self._session.get(f"{self.url}{path}", timeout=_READ_S)
        if answer.status_code == requests.codes.not_found:
            return None
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def send(self, method: str, path: str, body: Mapping[str, Any], **headers: str) -> requests.Response:
        """A request with a body, whatever comes of it."""
        return self._session.request(
            method,
            f"{self.url}{path}",
            data=json.dumps(body),
            headers={"Content-Type": "application/json", **headers},
            timeout=_READ_S,
        )

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Creates an object in the collection `path`."""
        answer = self.send("POST", path, body)
        assert answer.ok, f"POST {path}: {answer.text}"
        made: dict[str, Any] = answer.json()
        return made

    def kubectl(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs the real kubectl to its end; its status is returned."""
        return subprocess.run(
            [self.parts.programs["kubectl"], "--kubeconfig", self.kubeconfig, *arguments],
            input=stdin, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def install(self, files: Iterable[str]) -> None:
        """Creates the CRDs of files of the parts, all at once, and waits until they are served."""
        found = [definition for file in files for definition in self.parts.objects(file)]
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda definition: self.create(path, definition), found))
        for definition in found:
            self.until(lambda name=definition["metadata"]["name"]: _established(self.get(f"{path}/{name}")), "a CRD")

    def crds(self, version: str, kinds: Sequence[str] = ("inferenceservices", "servingruntimes")) -> None:
        """Installs CRDs of a release of KServe."""
        self.install(f"kserve-{version}/serving.kserve.io_{kind}" for kind in kinds)

    def _config(self) -> dict[str, Any]:
        cluster = {"server": self.url, "certificate-authority": str(self.folder / "tls.crt")}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        }

    def _tail(self, program: str) -> str:
        log = self.folder / f"{program}.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""


def _established(definition: Mapping[str, Any] | None) -> bool:
    conditions = (definition or {}).get("status", {}).get("conditions") or ()
    return any(item["type"] == "Established" and item["status"] == "True" for item in conditions)
