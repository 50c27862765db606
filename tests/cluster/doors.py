"""Envoy at the addresses of gateways' pods, since pods on kwok's nodes run no container.

Each is started as its Deployment says, with the files of its ConfigMap and its Secret. They follow both as a kubelet
does, by a link that is turned; engines are where the endpoints of their Services say, for a DNS that is not there.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.control_plane import ControlPlane

_LOOK_S = 0.2
_NAME = re.compile(r'"address": "([a-z0-9-]+)\.([a-z0-9-]+)\.svc"')


@contextmanager
def doors(cluster: ControlPlane, envoy: str) -> Iterator[None]:
    """Runs Envoy for every pod of a gateway that comes, until the end; `envoy` is the binary."""
    over = threading.Event()
    with tempfile.TemporaryDirectory(prefix="berth-doors-") as folder:
        follower = threading.Thread(target=_follow, args=(cluster, envoy, Path(folder), over))
        follower.start()
        try:
            yield
        finally:
            over.set()
            follower.join()


def _follow(cluster: ControlPlane, envoy: str, folder: Path, over: threading.Event) -> None:
    running: dict[str, _Door] = {}
    try:
        while not over.wait(_LOOK_S):
            listed = (cluster.get("/api/v1/pods") or {"items": []})["items"]
            found = [pod for pod in listed if any(one["name"] == "envoy" for one in pod["spec"]["containers"])]
            there = {pod["metadata"]["uid"]: pod for pod in found if "podIP" in pod["status"]}
            for uid in running.keys() - there.keys():
                running.pop(uid).stop()
            for uid, pod in there.items():
                if uid not in running:
                    running[uid] = _Door(cluster, pod, envoy, folder / uid)
                running[uid].follow()
    finally:
        for door in running.values():
            door.stop()


class _Door:
    def __init__(self, cluster: ControlPlane, pod: Mapping[str, Any], envoy: str, folder: Path) -> None:
        self._cluster, self._envoy, self._folder = cluster, envoy, folder
        self._namespace, self._address = pod["metadata"]["namespace"], pod["status"]["podIP"]
        (self._container,) = pod["spec"]["containers"]
        (volume,) = (one["projected"]["sources"] for one in pod["spec"]["volumes"] if "projected" in one)
        self._sources = [next(iter(source.items())) for source in volume]
        self._published: dict[str, str] = {}
        self._number = 0
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "files").mkdir(parents=True)
        (folder / "work").mkdir()

    def follow(self) -> None:
        """Publishes what has changed, and starts Envoy with the first that is whole."""
        files = {name: self._here(text) for name, text in self._files().items()}
        if files == self._published or len({kind for kind, _ in self._sources}) > len(files):
            return
        self._number += 1
        data = self._folder / "files" / f"..{self._number}"
        data.mkdir()
        for name, text in files.items():
            (data / name).write_text(text)
            if not (link := self._folder / "files" / name).is_symlink():
                link.symlink_to(f"..data/{name}")
        new = self._folder / "files/..data_tmp"
        new.symlink_to(data.name)
        new.replace(self._folder / "files/..data")
        self._published = files
        if self._process is None:
            argv = [self._envoy if word == "envoy" else self._here(word) for word in self._container["command"]]
            with (self._folder / "log").open("wb") as log:
                self._process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)

    def stop(self) -> None:
        """Ends it at once, with all that it has started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _files(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for kind, source in self._sources:
            held = self._cluster.get(f"/api/v1/namespaces/{self._namespace}/{kind.lower()}s/{source['name']}")
            for name, text in ((held or {}).get("data") or {}).items():
                found[name] = base64.b64decode(text).decode() if kind == "secret" else text
        return found

    def _here(self, text: str) -> str:
        """Paths, names and addresses of the pod as they are on this machine."""
        text = _NAME.sub(lambda at: f'"address": "{self._engine(at[1], at[2])}"', text)
        text = text.replace("/etc/berth", str(self._folder / "files")).replace("/run/berth", str(self._folder / "work"))
        # What the pod has for itself is here the address that it was given; nobody listens on port 1 of either.
        return text.replace("0.0.0.0", self._address).replace('"127.0.0.1"', f'"{self._address}"')

    def _engine(self, service: str, namespace: str) -> str:
        held = self._cluster.get(f"/api/v1/namespaces/{namespace}/endpoints/{service}") or {}
        ready = [one["ip"] for subset in held.get("subsets") or () for one in subset.get("addresses") or ()]
        return str(min(ready, default="127.0.0.1"))
