"""Exact weights from safetensors headers."""

import json

import pytest

from berth.catalogue.models import header_of, stored_weights


def tensor(*shape: int, dtype: str = "BF16") -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [0, 0]}


def test_a_header_is_read_from_the_first_bytes():
    body = json.dumps({"__metadata__": {"format": "pt"}, "a": tensor(2, 3)}).encode()
    assert header_of(len(body).to_bytes(8, "little") + body + b"data")["a"]["shape"] == [2, 3]


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"abc", "8 bytes of length"),
        ((100).to_bytes(8, "little") + b"{}", "needs 108 bytes, got 10"),
        (b"\xff" * 16, "not a safetensors file"),
        ((2).to_bytes(8, "little") + b"[]", "no JSON object"),
    ],
)
def test_what_is_no_header_is_refused(start: bytes, words: str):
    with pytest.raises(ValueError, match=words):
        header_of(start)


def test_tensors_are_sorted_by_how_ranks_split_them():
    header = {
        "__metadata__": {},
        "model.embed_tokens.weight": tensor(100, 8),
        "lm_head.weight": tensor(100, 8),
        "model.layers.0.self_attn.q_proj.weight": tensor(8, 8),
        "model.layers.0.self_attn.k_proj.weight": tensor(4, 8),
        "model.layers.0.mlp.experts.3.up_proj.weight": tensor(16, 8),
        "model.layers.0.mlp.gate.weight": tensor(4, 8),
        "model.layers.0.input_layernorm.weight": tensor(8),
        "visual.blocks.0.attn.qkv.weight": tensor(8, 24),
        "model.layers.9.self_attn.q_proj.weight": tensor(8, 8),
        "mtp.fc.weight": tensor(8, 8),
        "model.layers.0.self_attn.rotary_emb.inv_freq": tensor(8, dtype="F32"),
    }
    found = stored_weights([header], layers=1)
    assert (found.embedding, found.head, found.keys_values, found.vision) == (1600, 1600, 64, 384)
    assert (found.sharded, found.replicated, found.unknown) == (2 * (64 + 128), 2 * (32 + 8), 0)
    assert found.total == 1600 + 1600 + 64 + 384 + 384 + 80


def test_floats_are_cast_and_packed_integers_kept():
    header = {
        "model.layers.0.mlp.up_proj.weight": tensor(10, 10, dtype="F32"),
        "model.layers.0.mlp.up_proj.qweight": tensor(10, 10, dtype="I32"),
        "model.layers.0.mlp.up_proj.weight_scale_inv": tensor(10, dtype="F32"),
        "model.layers.0.mlp.down_proj.weight": tensor(10, 10, dtype="F8_E4M3"),
    }
    assert stored_weights([header]).sharded == 200 + 400 + 40 + 100


def test_a_tied_copy_of_the_head_is_not_loaded():
    header = {"model.embed_tokens.weight": tensor(100, 8), "lm_head.weight": tensor(100, 8)}
    assert stored_weights([header], tied=True).total == 1600
