"""Reads the models of a stack: which of them, from where, and what to say of those that cannot be read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from berth.catalogue.models import ModelShape
from berth.planner.notes import remark, warning
from berth.planner.placement import where_of
from berth.planner.plan import Note, Severity
from berth.shapes.cache import Cache, cache_folder
from berth.shapes.checkpoint import Checkpoint, read_checkpoint, shape_of
from berth.shapes.files import Unreadable
from berth.shapes.folder import Folder
from berth.shapes.parallel import at_once
from berth.spec.models import Revision
from berth.spec.sources import Source
from berth.spec.stack import Stack

__all__ = ["TIMEOUT_S", "Reader", "Shapes", "read"]

TIMEOUT_S = 5.0
"""How long a preview waits for all models of a stack together."""

_HUB = "https://huggingface.co"
_MODELS = 8
"""Models that are read at once."""

_FOR_THE_REST = 0.1
"""Part of the time that is kept for handing over what was read of a model when the rest comes too late."""

_INSTEAD = "what the catalogue knows of it is taken"

Shapes = Mapping[str, ModelShape]
"""By repository or folder as the stack file names it, which is what the planner asks for."""

Token = Callable[[Source], str | None]
"""The hub's access token for a source; None where it has none."""


@dataclass(frozen=True)
class _Model:
    """One model to read: a folder of this machine, or a repository at a commit."""

    place: str
    revision: str | None
    endpoint: str
    token: str | None = field(repr=False)


def read(
    stack: Stack,
    *,
    base: Path,
    timeout_s: float = TIMEOUT_S,
    secret: Callable[[str], str | None] = lambda _: None,
) -> tuple[Shapes, tuple[Note, ...]]:
    """What the models of a stack say of themselves, where a GPU is to hold them.

    Args:
        stack: what the stack file says.
        base: the folder that relative folders of models are relative to.
        timeout_s: how long all models together may take, in seconds.
        secret: gives the value of a secret by its name, None where it has none, for repositories that need a token.

    Returns:
        The shapes of the models that could be read, and a note on each of the others.
    """

    def token(source: Source) -> str | None:
        return secret(source.token) if source.token is not None else None

    return Reader(base=base, timeout_s=timeout_s, token=token).read(stack)


class Reader:
    """Reads the stacks of one run. What failed once is not asked again, and silence costs its time limit once."""

    def __init__(self, *, base: Path, token: Token, timeout_s: float = TIMEOUT_S, cache: Path | None = None) -> None:
        self._base = base
        self._timeout_s = timeout_s
        self._token = token
        self._cache = Cache(cache or cache_folder())
        self._offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
        self._failed: dict[_Model, Unreadable] = {}
        self._silent: dict[str, Unreadable] = {}

    def read(self, stack: Stack) -> tuple[Shapes, tuple[Note, ...]]:
        """What the models of a stack say of themselves; see `read`."""
        wanted = dict(self._wanted(stack))
        results = self._known(list(wanted))
        results |= self._ask([model for model in wanted if model not in results])
        shapes: dict[str, ModelShape] = {}
        notes: list[Note] = []
        for model, where in wanted.items():
            found = self._shape(model, results[model])
            if isinstance(found, Unreadable):
                notes.append((warning if found.fatal else remark)(where, f"{found}; {_INSTEAD}"))
                continue
            notes += _doubts(where, results[model])
            notes += _choose(shapes, model.place, found, where)
        return shapes, tuple(_together(notes))

    def _wanted(self, stack: Stack) -> Iterator[tuple[_Model, str]]:
        """The models that lie on a GPU and can be read, each with its place in the stack file."""
        for name, spec in stack.models.items():
            for revision, settings in spec.revisions.items():
                source = settings.source
                if not _on_gpu(stack, settings):
                    continue
                where = f"{where_of(name, spec, revision)}.source"
                if source.hub is not None:
                    endpoint = source.endpoint or os.environ.get("HF_ENDPOINT") or _HUB
                    yield _Model(source.hub, source.revision, endpoint, self._token(source) or None), where
                elif source.path is not None and _here(stack, settings):
                    yield _Model(source.path, None, "", None), where

    def _known(self, models: Sequence[_Model]) -> dict[_Model, Checkpoint | Unreadable]:
        """What needs no asking: kept on this machine, failed before, or not to be asked for."""
        found: dict[_Model, Checkpoint | Unreadable] = {}
        for model in models:
            if model.revision is None:
                continue
            kept = self._cache.get(model.place, model.revision)
            failed = self._failed.get(model) or self._silent.get(model.endpoint)
            if kept is not None:
                found[model] = kept
            elif self._offline:
                found[model] = Unreadable("HF_HUB_OFFLINE is set, nothing is asked of the hub")
            elif failed is not None:
                found[model] = failed
        return found

    def _ask(self, models: Sequence[_Model]) -> dict[_Model, Checkpoint | Unreadable]:
        """Reads what is not known, all at once."""
        deadline = time.monotonic() + self._timeout_s
        headers_until = deadline - self._timeout_s * _FOR_THE_REST
        found = at_once(models, lambda model: self._read(model, headers_until), deadline=deadline, threads=_MODELS)
        late = Unreadable(f"it could not be read within {self._timeout_s:g} s", silent=True)
        results = {model: found.get(model, late) for model in models}
        answered = {model.endpoint for model, result in results.items() if isinstance(result, Checkpoint)}
        for model, result in results.items():
            if isinstance(result, Unreadable):
                self._failed[model] = result
                if result.silent and model.revision is not None and model.endpoint not in answered:
                    self._silent[model.endpoint] = result
            elif model.revision is not None and result.problem is None:
                self._cache.put(model.place, model.revision, result)
        return results

    def _read(self, model: _Model, deadline: float) -> Checkpoint | Unreadable:
        try:
            if model.revision is None:
                return read_checkpoint(Folder(self._base / Path(model.place).expanduser()))
            from berth.shapes.repository import Repository  # noqa: PLC0415 - the client takes long to import

            endpoint, token = model.endpoint, model.token
            return read_checkpoint(
                Repository(model.place, model.revision, endpoint=endpoint, token=token, deadline=deadline)
            )
        except Unreadable as problem:
            return problem
        except Exception as problem:  # noqa: BLE001 - a plan never fails for what it could do without
            return Unreadable(f"it could not be read ({type(problem).__name__}: {problem})")

    @staticmethod
    def _shape(model: _Model, result: Checkpoint | Unreadable) -> ModelShape | Unreadable:
        if isinstance(result, Unreadable):
            return result
        origin = f"{model.place} at {model.revision[:8]}" if model.revision is not None else model.place
        try:
            return shape_of(result, name=model.place, origin=origin)
        except Unreadable as problem:
            return problem


def _on_gpu(stack: Stack, settings: Revision) -> bool:
    """Whether the revision lies on a card somewhere; on a CPU nothing is sized."""
    if settings.engine.device == "cpu":
        return False
    return any(
        place.cluster is not None or any(stack.hosts[host].gpus for host in _hosts(stack, place.host, place.group))
        for place in settings.place
    )


def _here(stack: Stack, settings: Revision) -> bool:
    """Whether it runs on this machine, so that its folder lies here."""
    hosts = [host for place in settings.place for host in _hosts(stack, place.host, place.group)]
    return any(stack.hosts[host].connection == "local" for host in hosts)


def _hosts(stack: Stack, host: str | None, group: str | None) -> tuple[str, ...]:
    """The hosts of a place; a name that the stack does not have is the planner's to refuse."""
    if host is not None:
        return (host,) if host in stack.hosts else ()
    return stack.group(group) if group is not None else ()


def _doubts(where: str, result: Checkpoint | Unreadable) -> Iterator[Note]:
    """Why weights are not exact although the model was read."""
    if isinstance(result, Unreadable) or result.stored is not None:
        return
    counted = "the total of its index is taken" if result.total is not None else "weights are counted by architecture"
    yield remark(where, f"{result.problem or 'it has no safetensors files'}; {counted}")


def _together(notes: Sequence[Note]) -> Iterator[Note]:
    """The same text of several models, such as that of a hub without a way to it, said once."""
    places: dict[tuple[Severity, str], list[str]] = {}
    for note in notes:
        places.setdefault((note.severity, note.text), []).append(note.where)
    for (severity, text), where in places.items():
        yield Note(severity=severity, where=", ".join(where), text=text)


def _choose(shapes: dict[str, ModelShape], place: str, found: ModelShape, where: str) -> Iterator[Note]:
    """Keeps one shape for each place: of two commits that differ, the one that needs more."""
    before = shapes.get(place)
    if before is None or _size(found) > _size(before):
        shapes[place] = found
    if before is not None and replace(before, origin="") != replace(found, origin=""):
        yield remark(where, f"two commits of {place} differ in size; both are counted as {shapes[place].origin} says")


def _size(shape: ModelShape) -> int:
    return shape.stored.total if shape.stored is not None else 0
