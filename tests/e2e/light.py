"""Stacks with a light process in the engine's place: the same resources, gateway and proof, up within seconds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def stack(
    port: int, environment: Path, models: Sequence[str] = ("first",), **changes: Mapping[str, Any]
) -> dict[str, Any]:
    """A stack file on the local host; `changes` are merged into a model's entry by its name."""
    return {
        "hosts": {
            "here": {
                "connection": "local",
                "runtime": "process",
                "root": ".berth/hosts",
                "init": "supervisord",
                "engine_ports": 14000 + os.getpid() % 17 * 1000,
            }
        },
        "models": {
            name: {
                "source": {"random": "tiny"},
                "engine": {
                    "name": "vllm",
                    "version": "0.32.0",
                    "device": "cpu",
                    "environment": {"path": str(environment)},
                },
                "place": [{"host": "here"}],
                "context": 512,
                "concurrency": 4,
                "kv_cache": "64 MiB",
                "start_timeout": "60s",
                **changes.get(name, {}),
            }
            for name in models
        },
        "gateway": {"host": "here", "port": port},
    }
