"""Every stack file that the documentation shows is one, and plans without a refusal."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.planner.planning import plan
from berth.spec import loads

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
AROUND = """
hosts:
  box: {connection: local, runtime: docker, gpus: [{model: rtx-5090}]}
models:
  qwen:
    source: {hub: Qwen/Qwen2.5-3B-Instruct, revision: aa8e72537993ba99e69dfaafa59ed015b17504d1}
    engine: {name: vllm, version: 0.10.1.1}
    place: [{host: box}]
    context: 4096
gateway: {host: box}
"""
"""What stands around an example that shows some keys alone: without models, or without a place for them."""


def examples() -> list[Any]:
    """Every block of YAML, by its page and line."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for block in re.finditer(r"^```ya?ml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, block.start()) + 1
            found.append(pytest.param(block[1], id=f"{page.name}:{line}"))
    return found


def over(below: Any, said: Any) -> Any:
    """What is said, and beside it what is not."""
    if not isinstance(below, Mapping) or not isinstance(said, Mapping):
        return said
    return {**below, **{key: over(below.get(key), value) for key, value in said.items()}}


@pytest.mark.parametrize("text", examples())
def test_an_example_plans_clean(text: str):
    said = yaml.safe_load(text)
    if "models" not in said or not said.keys() & {"hosts", "clusters"}:
        text = yaml.safe_dump(over(yaml.safe_load(AROUND), said), allow_unicode=True)
    assert plan(loads(text), "example").refusals == ()


def test_the_smallest_stack_of_the_readme_is_the_one_that_make_up_takes():
    example = re.findall(r"^```yaml\n(.*?)^```$", PAGES[0].read_text(), flags=re.MULTILINE | re.DOTALL)[0]
    assert yaml.safe_load(example) == yaml.safe_load((ROOT / "stacks/dev.yaml").read_text())
