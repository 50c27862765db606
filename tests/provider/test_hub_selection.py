"""Which files of a model serving needs, as tables."""

from __future__ import annotations

import pytest

from berth.provider.hub.selection import Listed, serving_needs
from berth.provider.hub.stop import Stop

ALWAYS = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "LICENSE"]

CASES = {
    "safetensors before the rest": (
        ["model.safetensors", "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "model.gguf"],
        ["model.safetensors"],
    ),
    "shards with their index, not the index of others": (
        [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "pytorch_model-00001-of-00002.bin",
            "pytorch_model.bin.index.json",
        ],
        ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
    ),
    "PyTorch's where there is nothing else": (
        ["pytorch_model.bin", "training_args.bin", "optimizer.pt", "rust_model.ot"],
        ["pytorch_model.bin"],
    ),
    "one copy of the same weights": (
        ["consolidated.safetensors", "model-00001-of-00001.safetensors"],
        ["model-00001-of-00001.safetensors"],
    ),
    "the maker's own layout where it is the only one": (
        ["consolidated.safetensors", "params.json", "tekken.json"],
        ["consolidated.safetensors", "params.json", "tekken.json"],
    ),
    "code and templates, no papers, no other programs' copies": (
        [
            "model.safetensors",
            "modeling_x.py",
            "chat_template.jinja",
            "README.md",
            ".gitattributes",
            "assets/bench.png",
            "onnx/model.onnx",
            "original/consolidated.00.pth",
            "original/params.json",
        ],
        ["model.safetensors", "modeling_x.py", "chat_template.jinja"],
    ),
    "a folder that is part of the model": (
        ["model.safetensors", "1_Pooling/config.json", "2_Dense/model.safetensors", "2_Dense/pytorch_model.bin"],
        ["model.safetensors", "1_Pooling/config.json", "2_Dense/model.safetensors"],
    ),
}


def listed(paths: list[str]) -> list[Listed]:
    return [Listed(path, 2**21, "0" * 64) for path in paths]


@pytest.mark.parametrize("case", CASES)
def test_serving_needs(case: str):
    files, needed = CASES[case]
    assert {file.path for file in serving_needs(listed([*ALWAYS, *files]))} == {*ALWAYS, *needed}


@pytest.mark.parametrize("files", [["model-Q4_K_M.gguf", "README.md"], ["adapter.onnx"], []])
def test_a_model_without_weights_is_refused(files: list[str]):
    with pytest.raises(Stop, match="no weights") as refused:
        serving_needs(listed(["config.json", *files]))
    assert refused.value.kind == "weights"
