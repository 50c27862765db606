"""What runs on a host as the content of a stack file, with a remark for each thing that it cannot say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

from pydantic import TypeAdapter, ValidationError

from berth.catalogue import gpus as catalogue
from berth.catalogue.units import Bytes
from berth.facts import HostFacts
from berth.importing.engines import Found, cards, engines
from berth.importing.front import Front, fronts, prefix_of, prefixes
from berth.importing.variables import CACHES, TOKENS, variables
from berth.running import Look, Meaning, meaning
from berth.spec.sources import Image

_IMAGE: TypeAdapter[str] = TypeAdapter(Image)

_UNKNOWN = "0" * 40
"""Stands for a commit that nothing on the host says."""

_GATEWAY_PORTS = (8000, 8080, 8090, 8100, 8200, 9000)
_SPAN = 3
"""Ports that a gateway takes: its own, its administration's and its metrics'."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """The content of a stack file.

    `remarks` are what it does not say: by the model's name, and under an empty name what is about the host.
    """

    content: dict[str, Any]
    remarks: Mapping[str, Sequence[str]]

    @property
    def models(self) -> Mapping[str, Any]:
        """Its models."""
        return dict(self.content["models"])


def stack(
    look: Look, facts: HostFacts, host: str, connection: Any, versions: Mapping[int, str] | None = None
) -> Imported:
    """Says what runs on a host.

    Args:
        look: what runs.
        facts: what the host is.
        host: what the stack file calls it.
        connection: how it is reached, as a stack file says it.
        versions: engines' own words for their releases by their main process, where their images do not say them.
    """
    return _Importing(look, facts, host, connection, versions or {}).imported()


@dataclass
class _Importing:
    look: Look
    facts: HostFacts
    host: str
    connection: Any
    versions: Mapping[int, str]
    models: dict[str, Any] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)
    caches: list[str] = field(default_factory=list)
    taken: set[int] = field(default_factory=set)

    def imported(self) -> Imported:
        found = list(engines(self.look, self.versions))
        self.taken = {*self.facts.ports, *(port.port for one in self.look.containers for port in one.ports)}
        for one in found:
            self._model(one)
        self._around(found)
        host: dict[str, Any] = {"connection": self.connection}
        if gpus := self._gpus():
            host["gpus"] = gpus
        host["runtime"] = "docker" if any(one.container for one in found) else "process"
        if self.caches:
            host["cache"] = self.caches[0]
        content = {"hosts": {self.host: host}, "models": self.models}
        content["gateway"] = {"host": self.host, "port": self._gateway_port()}
        return Imported(content=content, remarks=self.remarks)

    def _say(self, name: str, text: str) -> None:
        self.remarks.setdefault(name, []).append(text)

    def _gpus(self) -> list[dict[str, Any]]:
        names = []
        for gpu in self.facts.gpus:
            try:
                names.append(catalogue.find(gpu.name, Bytes(gpu.memory)).id)
            except catalogue.UnknownGpu:
                self._say("", f"gpu {gpu.index} is a {gpu.name}, which is not in the catalogue; gpus are left out")
                return []
        return [
            {"model": name} if (count := len(list(alike))) == 1 else {"model": name, "count": count}
            for name, alike in groupby(names)
        ]

    def _card_memory(self, indices: Sequence[int]) -> int | None:
        if not indices:
            return None
        gpu = self.facts.gpus[indices[0]]
        try:
            return int(catalogue.find(gpu.name, Bytes(gpu.memory)).cuda_total)
        except catalogue.UnknownGpu:
            return None

    def _model(self, found: Found) -> None:
        uuids = [gpu.uuid for gpu in self.facts.gpus]
        used: dict[int, list[str]] = {}
        for process in self.facts.gpu_processes:
            used.setdefault(process.pid, []).append(process.uuid)
        indices = cards(found, uuids, used)
        said = meaning(found.line, self._card_memory(indices))
        listens = self._listens(found, said)
        name, aliases = self._name(said)
        for remark in said.remarks:
            self._say(name, remark)
        if listens is None:
            self._say("", f"{found.called} serves {name} on no port of this host, and is left out")
            return
        port, address = listens
        model: dict[str, Any] = {"source": self._source(name, found, said)}
        model["engine"] = self._engine(name, found)
        place: dict[str, Any] = {"host": self.host, **({"gpus": list(indices)} if indices else {}), "port": port}
        if address not in {"127.0.0.1", "::1"}:
            place["address"] = address or "0.0.0.0"  # noqa: S104 - what the engine listens on now, said
        model["place"] = [place]
        model["adopt"] = {"container": found.container.name} if found.container else {"process": True}
        if aliases:
            model["aliases"] = aliases
        if path := prefix_of(prefixes(self.look), found.container, said.port, port):
            model["path_prefix"] = path
        model |= _written(said.says)
        model |= self._variables(name, found)
        if reason := _unasked(found, said, name):
            self._say(name, reason)
            model["prove"] = {"smoke": []}
        self.models[name] = model

    def _listens(self, found: Found, said: Meaning) -> tuple[int, str] | None:
        """The port of the host and its address, empty for all of them."""
        if found.container is None:
            return said.port, said.host or "0.0.0.0"  # noqa: S104 - vLLM's own default
        outside = found.container.outside(said.port)
        return None if outside is None else (outside.port, outside.address)

    def _name(self, said: Meaning) -> tuple[str, list[str]]:
        """The model's name in the stack file, and the other names under which it is asked for."""
        served = list(said.names or (said.model,))
        plain = next((one for one in served if re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", one)), None)
        last = PurePosixPath(served[0]).name or "model"
        wanted = plain or re.sub(r"[^a-z0-9]+", "-", last.lower()).strip("-")[:38].strip("-") or "model"
        taken = {alias for model in self.models.values() for alias in model.get("aliases", ())} | self.models.keys()
        name = next(one for one in (wanted, *(f"{wanted[:36]}-{n}" for n in range(2, 1000))) if one not in taken)
        if name != wanted:
            self._say(name, f"{wanted} is served more than once: in a stack file that is one model with replicas")
        return name, [one for one in served if one != name and one not in taken]

    def _source(self, name: str, found: Found, said: Meaning) -> dict[str, Any]:
        if said.model.startswith(("/", "./", "~")):
            path = found.container.on_host(said.model) if found.container is not None else said.model
            if path is None:
                self._say(name, f"its weights, {said.model}, lie in the container alone; bring them to the host")
            return {"path": path or said.model}
        commit = said.revision if re.fullmatch(r"[0-9a-f]{40}", said.revision) else self.look.commits.get(said.model)
        if commit is None:
            self._say(name, "the commit of its weights is not known; write it in place of the zeros")
        source = {"hub": said.model, "revision": commit or _UNKNOWN}
        if any(found.environment.get(token) for token in TOKENS):
            self._say(name, "its token is not written: `pulumi config set --secret hf_token`")
            source["token"] = "hf_token"  # noqa: S105 - the name of a secret
        return source

    def _engine(self, name: str, found: Found) -> dict[str, Any]:
        engine: dict[str, Any] = {"name": found.line.engine}
        if found.version is None:
            self._say(name, "the release of its engine is not known: flags are checked against the newest; say version")
        else:
            engine["version"] = found.version
        if not self.facts.gpus:
            engine["device"] = "cpu"
        if found.container is None:
            return engine
        digests = [one for one in found.container.digests if one.startswith(f"{found.container.repository}@")]
        if digests or found.container.digests:
            engine["image"] = (digests or list(found.container.digests))[0]
        elif _is_image(found.container.image):
            engine["image"] = found.container.image
        else:
            text = f"its image, {found.container.image}, moves and has no digest here; the release's own is taken"
            self._say(name, text)
        return engine

    def _variables(self, name: str, found: Found) -> dict[str, Any]:
        """Its environment; secrets by their names alone. The folder of downloads is the host's."""
        said = variables(found)
        for remark in said.remarks:
            self._say(name, remark)
        self._cache(found)
        parts = {"environment": dict(said.plain), "secrets": dict(said.secrets)}
        return {key: part for key, part in parts.items() if part}

    def _cache(self, found: Found) -> None:
        if found.container is None:
            return
        inside = [found.environment[name] for name in CACHES if found.environment.get(name)]
        for path in (*inside, "/root/.cache/huggingface", "/data"):
            folder = found.container.on_host(path)
            if folder is not None:
                home = self.facts.home.rstrip("/") + "/"
                shown = "~/" + folder.removeprefix(home) if folder.startswith(home) else folder
                self.caches += [] if shown in self.caches else [shown]
                return

    def _around(self, found: Sequence[Found]) -> None:
        """What is no engine: who stands in front, compose, more than one cache."""
        for front in fronts(self.look):
            self._front(front)
        projects = {
            (one.container.labels.get(_PROJECT, ""), one.container.labels.get(_FILES, ""))
            for one in found
            if one.container is not None and _PROJECT in one.container.labels
        }
        for project, files in sorted(projects):
            text = f"compose project {project} ({files or 'its files are not said'}) made these containers"
            self._say("", f"{text}; `docker compose up` and `down` there change what Berth has adopted")
        if len(self.caches) > 1:
            self._say("", f"more than one folder has downloads; cache is the first of {', '.join(self.caches)}")

    def _front(self, front: Front) -> None:
        ports = " and ".join(map(str, front.ports)) or "no port of this host"
        text = f"{front.called} ({front.kind}) listens on {ports} and stays as it is"
        if front.kind == "dcgm-exporter":
            self._say("", f"{text}; `monitoring: {{gpu: true}}` is Berth's own, once that port is free")
        else:
            self._say("", f"{text}; once Berth's gateway answers, stop it and give that port to the gateway")

    def _gateway_port(self) -> int:
        taken = self.taken | {place["port"] for model in self.models.values() for place in model["place"]}
        free = [port for port in _GATEWAY_PORTS if not taken & set(range(port, port + _SPAN))]
        return free[0] if free else next(port for port in range(10000, 60000) if port not in taken)


_PROJECT = "com.docker.compose.project"
_FILES = "com.docker.compose.project.config_files"


def _unasked(found: Found, said: Meaning, name: str) -> str:
    """Why the gateway cannot ask the engine as it runs for the model by its name; empty where it can."""
    if "api-key" in found.line.flags or found.environment.get("VLLM_API_KEY"):
        return (
            "its engine asks for a key of its own, and the gateway has none for it: start it without, or take it over"
        )
    if found.line.engine != "tgi" and name not in (said.names or (said.model,)):
        return f"its engine knows no name {name}: ask for {(said.names or (said.model,))[0]} until Berth has started it"
    return ""


def _written(says: Mapping[str, Any]) -> dict[str, Any]:
    """What an engine's flags mean, with sizes as stack files write them."""
    return {key: _size(value) if key in {"cpu_offload", "kv_cache"} else value for key, value in says.items()}


def _size(number: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if number % size == 0:
            return f"{number // size} {unit}"
    return f"{number} B"


def _is_image(name: str) -> bool:
    try:
        _IMAGE.validate_python(name)
    except ValidationError:
        return False
    return True
