"""What a stack file says once for many reaches everyone it is meant for, and no one else."""

import pytest

from berth.spec import Stack, loads

COMMIT = "7ae557604adf67be50417f59c2c2f167def9a775"

BASE = f"""
hosts:
  h: {{connection: local}}
models:
  m:
    source: {{hub: a/b, revision: {COMMIT}}}
    engine: vllm
    place: [{{host: h}}]
"""


def revision(stack: Stack, name: str = "main"):
    return stack.models["m"].revisions[name]


def test_a_model_without_revisions_has_one_called_main():
    stack = loads(BASE)
    assert list(stack.models["m"].revisions) == ["main"]
    assert stack.models["m"].shares == {"main": 100}


def test_another_engine_is_one_changed_word():
    engines = "engines: {vllm: {version: 0.10.1.1}, sglang: {version: 0.5.9}}\n"
    vllm = revision(loads(BASE + engines))
    sglang = revision(loads(BASE.replace("engine: vllm", "engine: sglang") + engines))
    assert (vllm.engine.name, vllm.engine.version) == ("vllm", "0.10.1.1")
    assert (sglang.engine.name, sglang.engine.version) == ("sglang", "0.5.9")
    assert vllm.model_copy(update={"engine": sglang.engine}) == sglang


def test_defaults_fill_in_what_a_model_does_not_say():
    stack = loads(BASE + "    context: 9\ndefaults: {model: {context: 5, concurrency: 6, on_change: hold}}\n")
    assert (revision(stack).context, revision(stack).concurrency) == (9, 6)
    assert stack.models["m"].on_change == "hold"


def test_a_default_engine_is_not_mixed_with_another_by_name():
    stack = loads(
        BASE.replace("engine: vllm", "engine: tgi") + "defaults: {model: {engine: {name: vllm, version: 0.9.2}}}\n"
    )
    assert revision(stack).engine.version is None


def test_a_group_fills_in_its_hosts():
    text = BASE.replace("h: {connection: local}", "h: {connection: local, group: g}\n  i: {connection: local}")
    stack = loads(text + "groups: {g: {runtime: docker, gpus: [{model: a40, count: 2}]}}\n")
    assert (stack.hosts["h"].runtime, stack.hosts["i"].runtime) == ("docker", "process")
    assert stack.group("g") == ("h",)


def test_a_default_may_put_every_host_in_a_group():
    stack = loads(BASE + "groups: {g: {runtime: docker}}\ndefaults: {host: {group: g}}\n")
    assert (stack.hosts["h"].runtime, stack.group("g")) == ("docker", ("h",))


def test_revisions_say_only_what_differs():
    stack = loads(
        BASE
        + "    context: 5\n    args: {a: 1, b: 2}\n    traffic: {main: 10, next: 90}\n"
        + "    revisions:\n      main:\n      next: {args: {b: 3}, source: {path: /m}}\n"
    )
    assert revision(stack).args == {"a": 1, "b": 2}
    assert revision(stack, "next").args == {"a": 1, "b": 3}
    assert revision(stack, "next").source.kind == "path"
    assert revision(stack, "next").context == 5
    assert stack.models["m"].face == "next"


def test_the_representative_may_be_named():
    more = "    traffic: {main: 10, next: 90}\n    representative: main\n    revisions: {main: {}, next: {}}\n"
    assert loads(BASE + more).models["m"].face == "main"


@pytest.mark.parametrize(
    ("said", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("0.5", 0.5), ("1.5h", 5400)]
)
def test_times_may_have_units(said: str, seconds: float):
    assert revision(loads(BASE + f"    start_timeout: {said}\n")).start_timeout == seconds


def test_numbers_in_variables_become_text():
    assert revision(loads(BASE + "    environment: {A: 0, B: 1.5, C: x}\n")).environment == {
        "A": "0",
        "B": "1.5",
        "C": "x",
    }


def test_a_stack_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        loads(BASE).profile = "other"
