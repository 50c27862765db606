"""The random model's files, read by the real tokenizer where it is installed."""

from __future__ import annotations

import json

import pytest

from berth.engines.random_model import SHAPES, files


def test_files_are_a_model_folder():
    contents = files("tiny")
    assert set(contents) == {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
    config = json.loads(contents["config.json"])
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["hidden_size"] == config["num_attention_heads"] * config["head_dim"]


def test_a_model_that_sees_has_a_place_for_each_piece_of_a_picture() -> None:
    contents = {name: json.loads(text) for name, text in files("tiny-vision").items()}
    assert set(contents) - set(files("tiny")) == {"preprocessor_config.json", "processor_config.json"}
    config = contents["config.json"]
    assert config["architectures"] == ["LlavaForConditionalGeneration"]
    assert contents["tokenizer.json"]["model"]["vocab"]["<image>"] == config["image_token_index"]
    pieces = config["vision_config"]["image_size"] // config["vision_config"]["patch_size"]
    assert config["image_seq_length"] == pieces**2
    assert contents["preprocessor_config.json"]["crop_size"]["width"] == config["vision_config"]["image_size"]
    assert config["text_config"] == json.loads(files("tiny")["config.json"])


@pytest.mark.parametrize("shape", SHAPES)
def test_vocabulary_fills_the_model_and_has_every_byte(shape: str):
    vocabulary = json.loads(files(shape)["tokenizer.json"])["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(SHAPES[shape].vocabulary))
    assert sum(1 for number in vocabulary.values() if number < 256) == 256
    assert vocabulary["A"] == ord("A")
    assert vocabulary["\u0120"] == ord(" ")


def test_special_tokens_stand_at_their_numbers():
    tokenizer = json.loads(files("tiny")["tokenizer.json"])
    for token in tokenizer["added_tokens"]:
        assert tokenizer["model"]["vocab"][token["content"]] == token["id"]
    config = json.loads(files("tiny")["config.json"])
    assert (
        config["bos_token_id"]
        == tokenizer["model"]["vocab"][json.loads(files("tiny")["tokenizer_config.json"])["bos_token"]]
    )


def test_two_writings_are_the_same():
    assert files("tiny") == files("tiny")


def test_unknown_shape_names_those_there_are():
    with pytest.raises(ValueError, match=r"'huge': no such shape; there are tiny"):
        files("huge")
