"""A stand-in hub for a test: `from tests.hub.fixtures import hub` in the folder's conftest or in the test itself."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator

import pytest

from tests.hub.stand_in import StandInHub, stand_in_hub


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    """A stand-in for the hub with no model yet."""
    with stand_in_hub() as running:
        yield running


def safetensors(size: int, seed: int = 0) -> bytes:
    """A real safetensors file with one tensor of `size` bytes."""
    header = json.dumps({"t": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes((seed + i * 7) % 251 for i in range(size))


def model_files() -> dict[str, bytes]:
    """What a model in two shards looks like on the hub, other formats and papers among it."""
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    return {
        ".gitattributes": b"*.safetensors filter=lfs\n",
        "README.md": b"# A model\n",
        "config.json": b'{"architectures": ["LlamaForCausalLM"]}\n',
        "tokenizer.json": b'{"model": {}}\n' * 1000,
        "tokenizer_config.json": b"{}\n",
        "empty.txt": b"",
        "model-00001-of-00002.safetensors": safetensors(300_000, 1),
        "model-00002-of-00002.safetensors": safetensors(200_000, 2),
        "model.safetensors.index.json": json.dumps(index).encode(),
        "pytorch_model.bin": b"p" * 100_000,
        "original/consolidated.00.pth": b"o" * 100_000,
        "onnx/model.onnx": b"n" * 100_000,
    }


NEEDED = {
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "empty.txt",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
}
"""The files of `model_files` that serving needs."""


def adapter_files() -> dict[str, bytes]:
    """What a LoRA adapter looks like on the hub, with what its training left."""
    return {
        "README.md": b"# An adapter\n",
        "adapter_config.json": b'{"peft_type": "LORA", "r": 8}\n',
        "adapter_model.safetensors": safetensors(50_000, 3),
        "training_args.bin": b"t" * 1000,
        "optimizer.pt": b"o" * 1000,
    }


ADAPTER_NEEDED = {"adapter_config.json", "adapter_model.safetensors"}
"""The files of `adapter_files` that serving needs."""
