"""What the planner decides: the default stack, revisions and traffic, shares, parallel sizes, facts."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.catalogue.units import Bytes
from berth.facts.model import DriverFact
from berth.planner.plan import HubWeights, ImageEngine, Plan, PythonPackages, RandomWeights, ReplicaPlan
from berth.planner.planning import plan
from berth.planner.verdict import Verdict
from berth.spec import Stack, load, loads
from tests.facts.fixtures import recorded

STACKS = Path(__file__).parents[2] / "stacks"
TINYLLAMA, QWEN, YI = "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "Qwen/Qwen2.5-3B-Instruct", "01-ai/Yi-6B-Chat"
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


def model(hub: str, **said: Any) -> dict[str, Any]:
    return {
        "source": {"hub": hub, "revision": "0" * 40},
        "engine": {"name": "vllm", "version": "0.11.0"},
        "place": [{"host": "box"}],
        **said,
    }


def stack(gpu: str, count: int, **models: dict[str, Any]) -> Stack:
    gpus = [{"model": gpu, "count": count}] if count else []
    data = {"hosts": {"box": {"connection": "local", "gpus": gpus}}, "models": models, "gateway": {"host": "box"}}
    return loads(yaml.safe_dump(data, sort_keys=False))


def replica(decided: Plan, name: str) -> ReplicaPlan:
    return next(one for one in decided.replicas if one.name == name)


def test_the_default_stack_needs_nothing_that_is_not_built():
    decided = plan(load(STACKS / "dev.yaml"), "dev")
    assert decided.refusals == ()
    assert decided.unbuilt == ()
    (tiny,) = decided.replicas
    assert isinstance(tiny.weights, RandomWeights)
    assert isinstance(tiny.engine.installation, PythonPackages)
    assert tiny.arguments["max-model-len"] == 512
    assert tiny.arguments["load-format"] == "dummy"
    assert tiny.memory is None
    assert tiny.on_change == "hold"
    assert decided.gateway is not None
    assert [key.name for key in decided.gateway.keys] == ["default"]
    assert [(ask.model, len(ask.prompts)) for ask in decided.smoke] == [("tiny", 1)]


def test_flags_are_bare_numbers():
    decided = plan(load(STACKS / "dev.yaml"), "dev")
    assert str(decided.replicas[0].arguments["kv-cache-memory-bytes"]).isdigit()
    decided = plan(stack("rtx-5090", 1, a=model(QWEN, context=1024), b=model(TINYLLAMA, context=1024)), "x")
    assert all(str(one.arguments["kv-cache-memory-bytes"]).isdigit() for one in decided.replicas)


def test_the_commented_model_of_the_default_stack_works_without_its_comment_signs():
    text = (STACKS / "dev.yaml").read_text()
    lines = [
        line.replace("  # ", "  ", 1) if line.startswith("  # ") and ":" in line else line for line in text.split("\n")
    ]
    kept = [line for line in lines if not line.startswith("  A real small model")]
    decided = plan(loads("\n".join(kept)), "dev")
    assert decided.refusals == ()
    assert [one.model for one in decided.replicas] == ["tiny", "qwen"]
    assert decided.replicas[1].weights == HubWeights(
        repo="Qwen/Qwen2.5-0.5B-Instruct", revision="7ae557604adf67be50417f59c2c2f167def9a775"
    )


def test_revisions_share_the_traffic_and_the_quota_counts_all():
    decided = plan(load(STACKS / "revisions.yaml"), "revisions")
    assert decided.gateway is not None
    (route,) = decided.gateway.models
    assert [(share.revision, share.percent, len(share.replicas)) for share in route.revisions] == [
        ("v1", 90, 2),
        ("v2", 10, 1),
    ]
    assert [one.name for one in decided.replicas] == ["dots-ocr-v1-0", "dots-ocr-v1-1", "dots-ocr-v2-0"]
    assert len({one.cards for one in decided.replicas}) == len(decided.replicas)


def test_shares_that_are_left_out_become_a_cache_in_bytes_where_the_engine_takes_them():
    decided = plan(
        stack("rtx-5090", 1, a=model(TINYLLAMA, context=1024, concurrency=8), b=model(QWEN, context=1024)), "x"
    )
    assert decided.refusals == ()
    assert decided.verdict is Verdict.FITS
    assert "kv-cache-memory-bytes" in replica(decided, "a-main-0").arguments
    grown = replica(decided, "b-main-0").arguments["kv-cache-memory-bytes"]
    assert isinstance(grown, int)
    assert grown > Bytes.from_gib(5)


def test_shares_that_are_left_out_become_fractions_for_older_engines():
    old = {"name": "vllm", "version": "0.9.2"}
    decided = plan(
        stack("rtx-5090", 1, a=model(TINYLLAMA, context=1024, engine=old), b=model(QWEN, context=1024, engine=old)), "x"
    )
    assert decided.refusals == ()
    for one in decided.replicas:
        assert "kv-cache-memory-bytes" not in one.arguments
        assert 0 < float(str(one.arguments["gpu-memory-utilization"])) < 1


@pytest.mark.parametrize("engine", ["sglang", "tgi", "vllm"])
@pytest.mark.parametrize("said", [{}, {"kv_cache": "2 GiB"}, {"concurrency": 8}])
def test_two_models_without_shares_fit_side_by_side_on_every_engine(engine: str, said: dict[str, Any]):
    both = {name: model(QWEN, engine=engine, context=2048, **said) for name in ("a", "b")}
    data = {
        "hosts": {"box": {"connection": "local", "runtime": "docker", "gpus": [{"model": "rtx-4090"}]}},
        "models": both,
    }
    decided = plan(loads(yaml.safe_dump(data)), "x")
    assert decided.refusals == ()
    assert decided.verdict is Verdict.FITS


def test_a_model_alone_on_its_card_keeps_the_engines_own_share():
    decided = plan(stack("rtx-5090", 1, a=model(QWEN, context=1024)), "x")
    assert "gpu-memory-utilization" not in decided.replicas[0].arguments


def test_small_models_start_before_large_ones():
    decided = plan(load(STACKS / "rtx5090.yaml"), "rtx5090")
    assert [one.model for one in decided.replicas] == ["tinyllama", "qwen", "yi"]
    assert [one.start_order for one in decided.replicas] == [0, 1, 2]


@pytest.mark.parametrize(
    ("profile", "verdict"),
    [("conservative", Verdict.TIGHT), ("balanced", Verdict.FITS), ("aggressive", Verdict.TIGHT)],
)
def test_the_three_profiles(profile: str, verdict: Verdict):
    decided = plan(load(STACKS / "rtx5090.yaml"), "rtx5090", profile)
    assert (decided.profile, decided.verdict) == (profile, verdict)


def test_the_aggressive_profile_states_its_margin_against_the_engines_check():
    decided = plan(load(STACKS / "rtx5090.yaml"), "rtx5090", "aggressive")
    assert any(
        "vLLM refuses to start below 0.5 x total" in note.text and "margin" in note.text for note in decided.notes
    )


def test_three_models_at_nine_tenths_each_are_refused_with_a_way_out():
    decided = plan(stack("rtx-5090", 1, **{
        name: model(hub, context=1024, share=0.9) for name, hub in (("a", TINYLLAMA), ("b", QWEN), ("c", YI))
    }), "x")  # fmt: skip
    assert decided.verdict is Verdict.DOES_NOT_FIT
    assert {note.where for note in decided.refusals} == {"models.b on box gpu 0", "models.c on box gpu 0"}
    assert any("leave out the shares of a, b, c" in text for text in decided.cards[0].suggestions)


def test_a_long_context_on_a_small_card_is_refused_and_the_suggested_one_plans_clean():
    decided = plan(stack("rtx-3090", 1, a=model(LLAMA, context=131072)), "x")
    (text,) = [text for text in decided.cards[0].suggestions if "context" in text]
    shorter = int(text.rpartition(" ")[2])
    assert plan(stack("rtx-3090", 1, a=model(LLAMA, context=shorter)), "x").verdict is Verdict.FITS


def test_a_share_that_is_a_little_too_large_is_lowered_by_a_little():
    decided = plan(stack("a40", 1, a=model(QWEN, context=4096, share=1.0)), "x")
    assert decided.cards[0].suggestions[0] == "lower the share of a to 0.97"


def test_adapters_are_reached_by_their_own_names():
    lora = {"adapters": [{"name": "french", "source": {"path": "/adapters/french"}}]}
    decided = plan(stack("a40", 1, a=model(QWEN, context=4096, lora=lora)), "x")
    assert decided.gateway is not None
    assert decided.gateway.models[0].aliases == ("french",)
    assert decided.replicas[0].arguments["lora-modules"] == ("french=/adapters/french",)
    assert decided.unbuilt == ()


def test_cards_that_are_given_without_parallel_are_used_as_far_as_heads_divide():
    two = plan(stack("a40", 2, a=model(LLAMA, place=[{"host": "box", "gpus": 2}], context=8192)), "x")
    assert two.replicas[0].arguments["tensor-parallel-size"] == 2
    three = plan(stack("a40", 3, a=model(LLAMA, place=[{"host": "box", "gpus": [0, 1, 2]}], context=8192)), "x")
    assert three.replicas[0].arguments["pipeline-parallel-size"] == 3
    assert any(note.where == "models.a.parallel" and "do not divide by 3" in note.text for note in three.notes)


def test_replicas_spread_over_the_emptiest_cards():
    decided = plan(stack("a40", 4, a=model(QWEN, place=[{"host": "box", "replicas": 3}]), b=model(QWEN)), "x")
    assert sorted(one.cards for one in decided.replicas) == [(0,), (1,), (2,), (3,)]


def test_a_cpu_host_has_no_memory_verdicts():
    decided = plan(load(STACKS / "dev.yaml"), "dev")
    assert decided.cards == ()
    assert decided.verdict is Verdict.FITS


def test_what_is_not_known_is_unknown_and_no_refusal():
    decided = plan(stack("a40", 1, a=model("someone/something-new")), "x")
    assert decided.verdict is Verdict.UNKNOWN
    assert decided.refusals == ()
    assert any("name a model like it in source.shape" in note.text for note in decided.notes)


def test_a_model_of_unknown_name_is_planned_by_its_shape():
    said = {"hub": "someone/something-new", "revision": "0" * 40, "shape": QWEN}
    assert plan(stack("a40", 1, a=model("", source=said)), "x").verdict is Verdict.FITS


def test_facts_come_before_what_is_declared():
    one = recorded("a40x2-pod")
    facts = {"box": one.model_copy(update={"gpus": one.gpus[:1]})}
    wrong = plan(stack("rtx-5090", 1, a=model(QWEN)), "x", facts=facts)
    assert [note.where for note in wrong.refusals] == ["hosts.box.gpus"]
    assert wrong.cards[0].model == "a40"
    undeclared = plan(stack("a40", 0, a=model(QWEN)), "x", facts=facts)
    assert undeclared.replicas[0].cards == (0,)
    assert any(note.where == "hosts.box.gpus" for note in undeclared.notes)


def test_what_others_hold_on_a_card_is_counted():
    def decided(used: float) -> Plan:
        one = recorded("a40x2-pod")
        card = one.gpus[0].model_copy(update={"used": Bytes.from_gib(used)})
        facts = {"box": one.model_copy(update={"gpus": (card,)})}
        return plan(stack("a40", 1, a=model(QWEN, share=0.5, context=4096)), "x", facts=facts)

    assert decided(0).verdict is Verdict.FITS
    assert decided(30).verdict is Verdict.DOES_NOT_FIT


def test_an_old_driver_that_was_observed_is_refused():
    one = recorded("rtx5090-ubuntu2404")
    facts = {"box": one.model_copy(update={"driver": DriverFact(loaded="545.23.08")})}
    decided = plan(stack("rtx-5090", 1, a=model(QWEN)), "x", facts=facts)
    assert any("the driver is 545.23.8, must be 570" in note.text for note in decided.refusals)


def test_containers_get_the_engines_own_image():
    decided = plan(load(STACKS / "rtx5090.yaml"), "rtx5090")
    assert decided.replicas[0].engine.installation == ImageEngine(image="vllm/vllm-openai:v0.10.1.1")


def test_another_engine_is_one_changed_word():
    text = (STACKS / "sglang.yaml").read_text()
    first, second = plan(loads(text), "x"), plan(loads(text.replace("engine: sglang", "engine: vllm")), "x")
    assert (first.refusals, second.refusals) == ((), ())
    assert first.replicas[0].arguments["context-length"] == second.replicas[0].arguments["max-model-len"] == 8192


def test_secrets_are_named_in_one_place():
    decided = plan(load(STACKS / "a40x2-tp2.yaml"), "a40x2-tp2")
    assert decided.secrets == {"hf_token", "alice_key"}


def test_an_adapter_of_the_hub_is_downloaded_and_stands_for_its_folder_until_then() -> None:
    commit, token = "f" * 40, "hf_token"
    lora = {"adapters": [{"name": "french", "source": {"hub": "acme/french", "revision": commit, "token": token}}]}
    decided = plan(stack("a40", 1, a=model(QWEN, context=4096, lora=lora)), "x")
    (replica,) = decided.replicas
    assert replica.arguments["lora-modules"] == (f"french=acme/french@{commit}",)
    assert replica.hub_adapters == {
        f"acme/french@{commit}": HubWeights(repo="acme/french", revision=commit, token=token)
    }
    assert replica.adapters == ()
    assert decided.unbuilt == ()
    assert token in decided.secrets


def test_sglang_is_installed_from_its_package_where_a_host_runs_processes_and_tgi_has_none() -> None:
    decided = plan(stack("a40", 1, a=model(QWEN, engine={"name": "sglang", "version": "0.5.9"}, context=4096)), "x")
    (replica,) = decided.replicas
    assert replica.engine.installation == PythonPackages(requirements=("sglang[all]==0.5.9",))
    assert (decided.unbuilt, decided.refusals) == ((), ())
    refused = plan(stack("a40", 1, a=model(QWEN, engine={"name": "tgi", "version": "3.3.7"}, context=4096)), "x")
    assert refused.unbuilt == (
        "models.a.engine: tgi has no package to be installed from, only an image: use docker, or vllm",
    )
