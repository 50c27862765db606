"""A hub, and stack files that name its models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from berth.spec import Stack, load
from tests.hub.fixtures import hub

__all__ = ["hub"]

StackOf = Callable[..., Stack]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache of the test's own, and nothing that the caller's environment says of hubs."""
    for name in ("HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def stack_of(tmp_path: Path) -> StackOf:
    """Makes a stack of sources, each a model on its own card; `gpus` None leaves the machine with its CPU."""

    def make(*sources: dict[str, str], gpus: str | None = "l4") -> Stack:
        host = {"connection": "local", **({"gpus": [{"model": gpus, "count": len(sources)}]} if gpus else {})}
        models = {
            f"m{number}": {
                "source": source,
                "engine": {"name": "vllm", "version": "0.11.0"},
                "place": [{"host": "here", **({"gpus": [number]} if gpus else {})}],
                "context": 256,
                "concurrency": 1,
            }
            for number, source in enumerate(sources)
        }
        path = tmp_path / "stack.yaml"
        path.write_text(yaml.safe_dump({"hosts": {"here": host}, "models": models}))
        return load(path)

    return make
