"""What a running engine becomes where its names, its image or its flags are none that a stack file can say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from berth.facts import HostFacts
from berth.importing import stack, text
from berth.running import parse
from berth.spec import SpecError, Stack, loads
from tests.importing.composed import answer

ROOT = Path(__file__).parents[2]


def imported(words: list[str], *, image: str = "vllm/vllm-openai:v0.11.0", **environment: str) -> tuple[Stack, str]:
    """The stack of one container with this command line."""
    said = json.loads(answer().split("berth containers\n")[1].split("\n\x1e")[0])[-1]
    said |= {"Path": words[0], "Args": words[1:]}
    said["Config"] |= {"Image": image, "Env": [f"{key}={value}" for key, value in environment.items()]}
    answered = f"\n\x1eberth containers\n{json.dumps([said])}\n\n\x1eberth end\n"
    facts = HostFacts.model_validate_json((ROOT / "tests/facts/recorded/rtx5090-ubuntu2404.json").read_text())
    written = text(stack(parse(answered), facts, "box", "local"), "x")
    return loads(written), " ".join(written.replace("#", " ").split())


def revision(found: Stack) -> Any:
    (model,) = found.models.values()
    return model.revisions["main"]


@pytest.mark.parametrize(
    ("served", "name", "aliases"),
    [
        (["--served-model-name", "qwen"], "qwen", ()),
        (["--served-model-name", "org/Qwen2.5_VL", "qwen"], "qwen", ("org/Qwen2.5_VL",)),
        ([], "qwen2-5-3b-instruct", ("Qwen/Qwen2.5-3B-Instruct",)),
    ],
)
def test_the_name_is_one_that_the_engine_knows_where_it_can_be(
    served: list[str], name: str, aliases: tuple[str, ...]
) -> None:
    found, said = imported(["vllm", "serve", "Qwen/Qwen2.5-3B-Instruct", *served])
    ((called, model),) = found.models.items()
    assert (called, model.aliases) == (name, aliases)
    assert ("its engine knows no name" in said) == (not served)
    assert (model.prove.smoke == ()) == (not served)


def test_a_model_folder_is_where_it_lies_on_the_host() -> None:
    found, said = imported(["vllm", "serve", "/root/.cache/huggingface/mine", "--served-model-name", "mine"])
    assert revision(found).source.path == "/home/ubuntu/.cache/huggingface/mine"
    found, said = imported(["vllm", "serve", "/opt/mine", "--served-model-name", "mine"])
    assert "its weights, /opt/mine, lie in the container alone" in said


def test_what_a_stack_file_refuses_is_a_comment() -> None:
    found, said = imported(["vllm", "serve", "/opt/my model", "--dtype", "int4", "--max-model-len", "512"])
    assert (revision(found).dtype, revision(found).context) == ("auto", 512)
    assert "dtype is left out: it is 'int4', must be auto" in said
    assert said.count("such an engine cannot be adopted as it runs, only taken over: say `take: true` in adopt") == 1


def test_a_model_that_cannot_be_said_at_all_is_left_out_and_said() -> None:
    with pytest.raises(SpecError, match="models"):
        imported(["vllm", "serve", "https://example.com/model.gguf", "--served-model-name", "one"])
    look = parse(answer().replace("01-ai/Yi-6B-Chat", "not/a/repository"))
    facts = HostFacts.model_validate_json((ROOT / "tests/facts/recorded/rtx5090-ubuntu2404.json").read_text())
    written = text(stack(look, facts, "box", "local"), "x")
    assert list(loads(written).models) == ["tinyllama", "qwen"]
    assert "yi is left out: its source.hub is 'not/a/repository', must be a repository" in written


def test_an_image_that_moves_is_not_named() -> None:
    found, said = imported(["vllm", "serve", "a/b", "--served-model-name", "b"], image="vllm/vllm-openai:latest")
    assert revision(found).engine.image is None
    assert "its image, vllm/vllm-openai:latest, moves and has no digest here" in said
    assert "the release of its engine is not known" in said


def test_a_tag_of_somebody_else_s_image_is_no_release() -> None:
    found, said = imported(["vllm", "serve", "a/b", "--served-model-name", "b"], image="corp/llm:2.1")
    assert (revision(found).engine.version, revision(found).engine.image) == (None, "corp/llm:2.1")
    assert "the release of its engine is not known" in said


def test_variables_are_its_own_and_secrets_are_names() -> None:
    found, said = imported(
        ["vllm", "serve", "a/b", "--served-model-name", "b"],
        HF_TOKEN="hf_x", MY_KEY="k", NCCL_P2P_DISABLE="1", HUGGINGFACE_HUB_CACHE="/root/.cache/huggingface",
    )  # fmt: skip
    made = revision(found)
    assert dict(made.environment) == {"NCCL_P2P_DISABLE": "1"}
    assert dict(made.secrets) == {"MY_KEY": "my_key"}
    assert made.source.token == "hf_token"
    assert "hf_x" not in said


def test_of_other_variables_only_harmless_names_are_written() -> None:
    said = {
        "TZ": "UTC",
        "OPENAI_APIKEY": "sk-live",
        "DB_PASS": "x1y2",
        "OUR_LICENCE": "z3z4",
        "VLLM_X": "hf_abcdefghijkl",
    }
    found, text = imported(["vllm", "serve", "a/b", "--served-model-name", "b"], **said)
    made = revision(found)
    assert dict(made.environment) == {"TZ": "UTC"}
    assert set(made.secrets) == {"OPENAI_APIKEY", "DB_PASS", "VLLM_X"}
    assert "OUR_LICENCE is not written, since it may be a secret" in text
    assert not [value for name, value in said.items() if name != "TZ" and value in text]


def test_variables_that_are_flags_are_read_as_flags() -> None:
    words = ["text-generation-launcher"]
    image = "ghcr.io/huggingface/text-generation-inference:3.3.7"
    found, said = imported(words, image=image, MODEL_ID="a/b", MAX_TOTAL_TOKENS="2048", PORT="8000")
    assert (revision(found).context, dict(revision(found).environment)) == (2048, {})
    assert "MODEL_ID" not in said
