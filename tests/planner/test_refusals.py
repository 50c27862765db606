"""What cannot work is refused with one line for each reason, and reasons do not hide each other."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.planner.plan import Plan
from berth.planner.planning import plan
from berth.spec import loads

TABLE = yaml.safe_load((Path(__file__).parent / "refusals.yaml").read_text())
GOOD = {
    "hosts": {"box": {"connection": "local", "gpus": [{"model": "a40", "count": 2}]}},
    "models": {
        name: {
            "source": {"hub": "Qwen/Qwen2.5-3B-Instruct", "revision": "0" * 40},
            "engine": {"name": "vllm", "version": "0.11.0"},
            "place": [{"host": "box"}],
            "context": 4096,
        }
        for name in ("a", "b")
    },
    "gateway": {"host": "box"},
}


def laid(base: Any, over: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(over, dict) or "random" in over:
        return over
    return {**base, **{key: laid(base.get(key), value) for key, value in over.items()}}


def planned(said: Any) -> Plan:
    return plan(loads(yaml.safe_dump(laid(deepcopy(GOOD), said), sort_keys=False)), "x")


def test_the_good_stack_has_no_refusals():
    assert planned({}).refusals == ()


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case["note"].split(": ")[0])
def test_a_stack_that_cannot_work_is_refused(case: dict[str, Any]):
    notes = [str(note) for note in planned(case["said"]).refusals]
    assert any(note.startswith(case["note"]) for note in notes), notes


@pytest.mark.parametrize(
    ("variables", "open_ones"),
    [
        ({"HF_TOKEN": "hf_abcdefghijkl"}, ["models.a.environment.HF_TOKEN"]),
        ({"HTTPS_PROXY": "http://me:word@proxy:3128"}, ["models.a.environment.HTTPS_PROXY"]),
        ({"VLLM_LOGGING_LEVEL": "INFO", "TOKENIZERS_PARALLELISM": "false", "HTTPS_PROXY": "http://proxy:3128"}, []),
    ],
    ids=["by its name", "by its value", "none"],
)
def test_a_secret_among_plain_variables_is_named_but_not_shown(variables: dict[str, str], open_ones: list[str]):
    notes = [
        note for note in planned({"models": {"a": {"environment": variables}}}).notes if ".environment." in note.where
    ]
    assert [note.where for note in notes] == open_ones
    assert all(
        "write secrets: {" in note.text and not set(variables.values()) & set(note.text.split()) for note in notes
    )


def test_reasons_do_not_hide_each_other():
    several = planned(
        {
            "hosts": {"box": {"gpus": [{"model": "a41"}]}},
            "gateway": {"host": "nowhere"},
            "models": {"a": {"aliases": ["b"], "quota": "none"}},
        }
    )
    assert {note.where for note in several.refusals} >= {
        "hosts.box.gpus[0].model",
        "gateway.host",
        "models.a.aliases[0]",
        "models.a.quota",
    }
