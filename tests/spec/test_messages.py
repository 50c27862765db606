"""Every wrong stack file gives lines a person can act on: where, what is, what must be, what to do."""

from pathlib import Path

import pytest
import yaml

from berth.spec import SpecError, load, loads

TABLE = yaml.safe_load((Path(__file__).parent / "mistakes.yaml").read_text())

GOOD = """\
hosts:
  here: {connection: local}
models:
  tiny:
    source: {random: tiny}
    engine: {name: vllm, version: 0.32.0}
    place: [{host: here}]
gateway: {host: here}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        loads(text)
    return [str(problem) for problem in caught.value.problems]


def test_the_good_file_is_good():
    assert list(loads(GOOD).models) == ["tiny"]


@pytest.mark.parametrize("case", TABLE["mistakes"], ids=lambda case: case["message"].split(" (")[0])
def test_a_mistake_is_said_in_one_line(case: dict[str, str]):
    before, was, after = GOOD.rpartition(case["was"])
    assert was
    assert problems(before + case["becomes"] + after) == [case["message"]]


@pytest.mark.parametrize("case", TABLE["no_stack"], ids=lambda case: repr(case["text"]))
def test_what_is_no_stack_file_is_refused(case: dict[str, str]):
    assert problems(case["text"]) == [case["message"]]


def test_all_mistakes_come_in_one_run_in_the_order_of_the_file():
    text = (
        GOOD.replace("local", "remote").replace("0.32.0", "new").replace("gateway: {host: here}", "gateway: {prt: 1}")
    )
    assert [line.partition(" (")[0] for line in problems(text)] == [
        "hosts.here.connection",
        "models.tiny.engine.version",
        "gateway.host",
        "gateway.prt",
    ]


def test_a_mistake_in_a_group_is_said_once_and_there():
    text = GOOD.replace(
        "  here: {connection: local}",
        "  here: {connection: local, group: g}\n  there: {connection: local, group: g}\ngroups: {g: {runtime: dockr}}",
    )
    assert problems(text) == [
        "groups.g.runtime (line 4): is 'dockr', must be process or docker; did you mean docker?",
    ]


def test_a_mistake_in_a_default_nobody_uses_is_still_one():
    assert problems(GOOD + "groups: {g: {runtme: docker}}\n") == [
        "groups.g.runtme (line 9): is not a known key, must be removed or renamed; did you mean runtime?",
    ]
    assert problems(GOOD + "groups: {g: {group: h}}\n") == [
        "groups.g.group (line 9): is in a group, must be in a host; groups have no groups",
    ]
    assert problems(GOOD + "defaults: {model: {revisions: {a: {}}}}\n") == [
        "defaults.model.revisions (line 9): is a default, must be said in each model; move it there",
    ]
    assert problems(GOOD + "engines: {vlm: {}}\n") == [
        "engines.vlm (line 9): is not a known key, must be removed or renamed; did you mean vllm?",
    ]


def test_an_unreadable_file_is_a_problem_too(tmp_path: Path):
    for path, content in ((tmp_path / "missing.yaml", None), (tmp_path / "latin.yaml", b"a: \xe9")):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(SpecError, match=r"cannot be read"):
            load(path)
    with pytest.raises(SpecError, match="cannot be read"):
        load(tmp_path)


def test_many_copies_by_alias_are_refused():
    lines = ["a: &a0 [x, x]"] + [
        f"b{n}: &a{n + 1} [*a{n}, *a{n}, *a{n}, *a{n}, *a{n}, *a{n}, *a{n}, *a{n}]" for n in range(30)
    ]
    with pytest.raises(SpecError, match="too many values"):
        loads("\n".join(lines))
