"""The engines among what runs on a host, each with its container or process, its cards and where it listens."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from berth.running import Container, Line, Look, Process, read

OURS = "dev.berth.stack"
"""The label of containers that a stack has made: they are declared already."""

_OWN = ("vllm/vllm-openai", "lmsysorg/sglang", "huggingface/text-generation-inference")
"""Images of the engines' makers, whose tags are releases of the engine."""

_VERSION = re.compile(r"v?(\d+(?:\.\d+){1,3}(?:\.?(?:post|rc|dev)\d+)?)(?=$|[-_+])")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A running engine. One of `container` and `process` is None; `version` is None where nothing says it."""

    line: Line
    version: str | None
    environment: Mapping[str, str]
    container: Container | None = None
    process: Process | None = None

    @property
    def called(self) -> str:
        """How a person finds it on the host."""
        return f"container {self.container.name}" if self.container else f"process {self.pid}"

    @property
    def pid(self) -> int:
        """Its main process."""
        if self.container is not None:
            return self.container.pid
        return self.process.pid if self.process is not None else 0


def engines(look: Look, versions: Mapping[int, str] | None = None) -> Iterator[Found]:
    """Those that no stack of Berth has made, containers first.

    Args:
        look: what runs.
        versions: releases by main process, for engines whose image does not say it.
    """
    known = versions or {}
    for container in look.containers:
        if OURS not in container.labels:
            found = of_container(container, known.get(container.pid))
            if found is not None:
                yield found
    started = dict[int, Found]()
    for process in look.outside:
        version = known.get(process.pid)
        line = read(process.words, process.environment, version)
        if line is not None and not process.ours:
            started[process.pid] = Found(line=line, version=version, environment=process.environment, process=process)
    # What an engine has forked has its words.
    yield from (found for found in started.values() if found.process and found.process.parent not in started)


def of_container(container: Container, version: str | None = None) -> Found | None:
    """The engine in a container; `version` where its image's tag does not say it."""
    tagged = _VERSION.match(container.tag) if container.repository.endswith(_OWN) else None
    known = tagged[1] if tagged else version
    line = read(container.words, container.environment, known)
    if line is None:
        return None
    return Found(line=line, version=known, environment=container.environment, container=container)


def cards(found: Found, uuids: Sequence[str], used: Mapping[int, Sequence[str]]) -> tuple[int, ...]:
    """The indices of the cards that an engine has.

    Args:
        found: the engine.
        uuids: those of the host's cards, in the order of their indices.
        used: the cards that processes hold memory of, by their ids, for engines that were given all.
    """
    every = tuple(range(len(uuids)))
    given = every if found.container is None else _given(found.container.devices, uuids)
    visible = found.environment.get("CUDA_VISIBLE_DEVICES", "")
    chosen = [place for word in visible.split(",") if (place := _index(word.strip(), uuids)) is not None]
    if chosen:
        # A container counts the cards that it was given from 0.
        return tuple(given[place] for place in chosen if place < len(given))
    holds = tuple(place for place in given if uuids[place] in used.get(found.pid, ()))
    return holds or given


def _given(devices: Sequence[str], uuids: Sequence[str]) -> tuple[int, ...]:
    found: list[int] = []
    for device in devices:
        if device == "all":
            return tuple(range(len(uuids)))
        if device.startswith("#"):
            return tuple(range(min(int(device[1:]), len(uuids))))
        place = _index(device, uuids)
        if place is not None and place < len(uuids):
            found.append(place)
    return tuple(found)


def _index(word: str, uuids: Sequence[str]) -> int | None:
    if word.isdecimal():
        return int(word)
    return next((place for place, uuid in enumerate(uuids) if word and uuid.startswith(word)), None)
