"""Model shapes: from config.json, from the catalogue by any of a model's names, with sizes that publishers state."""

import pytest

from berth.catalogue import models
from berth.planner.memory.weights import parameters

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
}


@pytest.mark.parametrize(
    ("name", "millions"),
    [  # totals that the model cards or safetensors metadata on the hub state
        ("meta-llama/Llama-3.1-8B-Instruct", 8030),
        ("meta-llama/Llama-3.2-1B-Instruct", 1236),
        ("meta-llama/Llama-3.1-405B", 405853),
        ("Qwen/Qwen2.5-7B-Instruct", 7616),
        ("Qwen/Qwen2.5-VL-7B-Instruct", 8292),
        ("Qwen/Qwen2.5-VL-3B-Instruct", 3755),
        ("Qwen/Qwen2-VL-7B-Instruct", 8291),
        ("Qwen/Qwen3-8B", 8191),
        ("Qwen/Qwen3-30B-A3B", 30532),
        ("Qwen/Qwen3-235B-A22B", 235094),
        ("Qwen/Qwen3-Coder-480B-A35B-Instruct", 480155),
        ("Qwen/Qwen3-VL-8B-Instruct", 8767),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", 80000),
        ("mistralai/Mistral-7B-Instruct-v0.3", 7248),
        ("mistralai/Mistral-Nemo-Instruct-2407", 12248),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 46703),
        ("mistralai/Mixtral-8x22B-Instruct-v0.1", 140630),
        ("mistralai/Mistral-Large-Instruct-2407", 122610),
        ("google/gemma-2-9b-it", 9242),
        ("google/gemma-2-27b-it", 27227),
        ("google/gemma-3-4b-it", 4300),
        ("google/gemma-3-27b-it", 27432),
        ("microsoft/phi-4", 14660),
        ("microsoft/Phi-3-mini-4k-instruct", 3821),
        ("microsoft/phi-2", 2780),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", 1100),
        ("01-ai/Yi-34B", 34389),
        ("deepseek-ai/DeepSeek-V2-Lite-Chat", 15706),
        ("deepseek-ai/DeepSeek-V3", 671026),
        ("moonshotai/Kimi-K2-Instruct", 1026470),
        ("zai-org/GLM-4.5-Air", 106850),
        ("openai/gpt-oss-20b", 20914),
        ("openai/gpt-oss-120b", 116829),
        ("openai-community/gpt2", 124),
        ("facebook/opt-125m", 125),
        ("HuggingFaceTB/SmolLM2-1.7B-Instruct", 1711),
        ("tiiuae/falcon-7b-instruct", 6922),
        ("bigcode/starcoder2-15b", 15958),
        ("nvidia/NVIDIA-Nemotron-Nano-9B-v2", 8888),
        ("LiquidAI/LFM2-1.2B", 1170),
        ("rednote-hilab/dots.ocr", 3039),
        ("llava-hf/llava-1.5-7b-hf", 7063),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B", 31578),
    ],
)
def test_parameters_are_what_the_publisher_counts(name: str, millions: int):
    assert parameters(models.find(name)).total / 1e6 == pytest.approx(millions, rel=0.02)


def test_every_row_of_the_catalogue_loads_and_has_an_origin():
    for name in models.names():
        shape = models.find(name)
        assert shape.origin
        assert shape.layers
        assert shape.attention or shape.latent or shape.recurrent
        assert not shape.unknown, name


@pytest.mark.parametrize(
    ("name", "like", "method"),
    [
        ("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", "meta-llama/Llama-3.1-70B-Instruct", "fp8"),
        ("/home/data/models/Meta-Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct", None),
        ("/root/autodl-tmp/qwen/Qwen2___5-3B", "Qwen/Qwen2.5-3B-Instruct", None),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "Qwen/Qwen2.5-7B-Instruct", "gptq"),
        ("hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4", "meta-llama/Llama-3.1-8B-Instruct", "awq"),
        ("unsloth/Llama-3.2-3B-Instruct-bnb-4bit", "meta-llama/Llama-3.2-3B-Instruct", "bitsandbytes"),
        ("nvidia/Gemma-4-26B-A4B-NVFP4", "google/gemma-4-26B-A4B-it", "nvfp4"),
        ("openai/gpt-oss-20b", "openai/gpt-oss-20b", "mxfp4"),
    ],
)
def test_copies_are_recognised_by_name(name: str, like: str, method: str | None):
    found, original = models.find(name), models.find(like)
    assert (found.layers, found.hidden, found.vocab) == (original.layers, original.hidden, original.vocab)
    assert (found.quantization.method if found.quantization else None) == method


@pytest.mark.parametrize("name", ["nobody/knows-this", "Qwen/Qwen2.5-8B", "7B", "meta-llama/Llama-5-8B"])
def test_what_is_not_in_the_catalogue_is_not_guessed(name: str):
    with pytest.raises(models.UnknownModel, match=r"config\.json is needed"):
        models.find(name)


def test_a_config_without_its_numbers_is_refused_with_the_missing_one():
    with pytest.raises(models.MissingNumbers, match="hidden_size"):
        models.read_config({key: value for key, value in LLAMA.items() if key != "hidden_size"})


@pytest.mark.parametrize("key", ["num_hidden_layers", "num_attention_heads", "vocab_size"])
def test_each_missing_number_is_named(key: str):
    with pytest.raises(models.MissingNumbers, match=key):
        models.read_config({name: value for name, value in LLAMA.items() if name != key})


def test_text_parts_are_found_however_deep():
    config = {"architectures": ["X"], "thinker_config": {"text_config": LLAMA, "model_type": "y"}}
    assert models.read_config(config).hidden == 4096


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ({"model_type": "deepseek_v4"}, "DeepSeek-V4"),
        ({"model_type": "t5"}, "encoder-decoder"),
        ({"quantization_config": {"quant_method": "exl3"}}, "exl3"),
        ({"layer_types": ["mamba", *["full_attention"] * 31]}, "recurrent layers"),
    ],
)
def test_what_cannot_be_sized_is_said(config: dict[str, object], part: str):
    assert part in " ".join(models.read_config({**LLAMA, **config}).unknown)


def test_windows_and_states_are_read_from_lists_and_periods():
    gemma = models.find("google/gemma-3-27b-it")
    assert [(part.count, part.window) for part in gemma.attention] == [(52, 1024), (10, None)]
    oss = models.find("openai/gpt-oss-20b")
    assert [(part.count, part.window) for part in oss.attention] == [(12, 128), (12, None)]
    qwen = models.find("Qwen/Qwen3.5-27B")
    assert [(part.count, part.gated) for part in qwen.attention] == [(16, True)]
    assert [(part.count, part.kind) for part in qwen.recurrent] == [(48, "gdn")]
    listed = models.read_config({**LLAMA, "sliding_window": 512, "layer_types": ["sliding_attention"] * 8 + ["x"] * 24})
    assert [(part.count, part.window) for part in listed.attention] == [(8, 512), (24, None)]


@pytest.mark.parametrize(
    ("entry", "bits", "bytes_per_weight"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, 4, 0.51953),
        ({"quant_method": "gptq", "bits": 8, "group_size": 32}, 8, 1.09375),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, 4, 0.5),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 8, 1.00024),
        ({"quant_method": "mxfp4"}, 4, 0.53125),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, 4, 0.5625),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 4, 0.5159),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 128, "type": "int"}}},
            },
            4,
            0.51562,
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "g": {"weights": {"num_bits": 8, "type": "float"}, "input_activations": {"num_bits": 8}}
                },
            },
            8,
            1.0,
        ),
    ],
)
def test_formats_by_their_configuration(entry: dict[str, object], bits: int, bytes_per_weight: float):
    found = models.read_config({**LLAMA, "quantization_config": entry}).quantization
    assert found.bits == bits
    assert found.bytes_per_weight == pytest.approx(bytes_per_weight, abs=1e-4)


def test_ignored_modules_stay_in_16_bits_and_one_exception_is_no_rule():
    entry = {"quant_method": "fp8", "modules_to_not_convert": ["re:.*self_attn.*", "lm_head"]}
    parts = models.read_config({**LLAMA, "quantization_config": entry}).quantization.parts
    assert (parts.attention, parts.mlp) == (False, True)
    entry = {"quant_method": "fp8", "modules_to_not_convert": ["model.layers.0.self_attn.q_proj"]}
    assert models.read_config({**LLAMA, "quantization_config": entry}).quantization.parts.attention


def test_a_checkpoint_may_ask_for_an_8_bit_cache():
    entry = {"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}
    assert models.read_config({**LLAMA, "quantization_config": entry}).quantization.fp8_cache
