"""Whatever command line an engine runs with: it is a model or a remark, never a traceback."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from berth.catalogue.engine_versions import flags
from berth.facts import HostFacts
from berth.importing import stack, text
from berth.importing.engines import engines
from berth.running import meaning, parse
from berth.spec import SpecError
from tests.importing.composed import answer

ROOT = Path(__file__).parents[2]
STARTS = {
    "vllm": ["vllm", "serve"],
    "sglang": ["python3", "-m", "sglang.launch_server"],
    "tgi": ["text-generation-launcher"],
}
VERSIONS = {"vllm": "0.11.0", "sglang": "0.5.9", "tgi": "3.3.7"}

values = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12) | st.sampled_from([
    "1G", "1.5g", "4k", "-1", "-7", "0", "1.5", "1e999", "9" * 5000, "NaN", "[" * 2000, "{}", '{"a": [NaN]}', "[1]",
    '{"image": 2}', "image=2", "true", "/x", "a/b", "one=/x", "--", "-", "\u0663", "http://me:pw@x/", "", "auto",
])  # fmt: skip


def words(engine: str) -> st.SearchStrategy[list[str]]:
    """Arguments, of which many are flags that the engine has."""
    names = st.sampled_from(sorted(flags(engine, VERSIONS[engine]).by_name)) | st.text("abc-._", max_size=5)
    flag = st.builds("--{}{}".format, names, st.sampled_from(["", "", ".a", ".password"]))
    one = st.tuples(flag) | st.tuples(flag, values) | st.builds(lambda a, b: (f"{a}={b}",), flag, values)
    return st.lists(one | st.tuples(values), max_size=6).map(lambda found: [word for part in found for word in part])


lines = st.sampled_from(sorted(STARTS)).flatmap(lambda engine: words(engine).map(lambda rest: [*STARTS[engine], *rest]))


@cache
def container() -> str:
    return answer().split("berth containers\n")[1].split("\n\x1e")[0]


@cache
def facts() -> HostFacts:
    return HostFacts.model_validate_json((ROOT / "tests/facts/recorded/rtx5090-ubuntu2404.json").read_text())


@settings(max_examples=60, deadline=None)
@given(argv=lines)
@example(argv=["vllm", "serve", "a/b", "--kv-cache-memory-bytes", "1G"])
@example(argv=["text-generation-launcher", "--model-id", "a/b", "--max-total-tokens", "x", "--max-input-tokens", "7"])
@example(argv=["vllm", "serve", "a/b", "--cpu-offload-gb", "1e999"])
@example(argv=["vllm", "serve", "a/b", "--max-model-len", "9" * 5000])
@example(argv=["vllm", "serve", "a/b", "--hf-overrides", '{"a":' * 400 + "1" + "}" * 400])
def test_an_engine_of_any_words_is_read(argv: list[str]) -> None:
    one: dict[str, Any] = json.loads(container())[-1] | {"Path": argv[0], "Args": argv[1:]}
    look = parse(f"\n\x1eberth containers\n{json.dumps([one])}\n\n\x1eberth end\n")
    for found in engines(look):
        meaning(found.line, 31 * 2**30)
    imported = stack(look, facts(), "box", "local")
    try:
        written = text(imported, "x")
    except SpecError:  # what the command says in plain words
        return
    assert "://me:pw@" not in written
