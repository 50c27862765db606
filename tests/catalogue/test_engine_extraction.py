"""The extraction of flags: on a small engine written here, and over again on the releases that are cached."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.extract_flags import __main__ as extraction
from tools.extract_flags import merge, releases
from tools.extract_flags.architectures import architectures
from tools.extract_flags.quantizations import quantizations

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools/extract_flags"
CACHE = ROOT / ".berth/cache/engine-sources"

# A vLLM in small: what its parser is made of, and imports that must not be needed.
SOURCES = {
    "vllm/__init__.py": "raise RuntimeError('the package itself must not run')",
    "vllm/utils/__init__.py": "import torch",
    "vllm/utils/argparse_utils.py": """
import argparse, regex as re
from pydantic import Field
class FlexibleArgumentParser(argparse.ArgumentParser):
    pass
""",
    "vllm/kernels.py": "raise RuntimeError('must not run')\nBackend = Literal['fast', 'slow']\nSIZE = 4 * 1024",
    "vllm/config/__init__.py": """
import enum, torch
from typing import Literal
from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass
from transformers import PretrainedConfig
from vllm.platforms import current_platform
class Mode(enum.Enum):
    ONE = 'one'
@dataclass(config=dict(arbitrary_types_allowed=True))
class Config:
    dtype: torch.dtype | Literal['auto', 'half'] = 'auto'
    share: float = Field(default=0.9, gt=0, le=1)
    hf: PretrainedConfig = Field(init=False)
    mode: Mode = Mode.ONE
    device: str = current_platform.device_type
    @field_validator('share')
    @classmethod
    def check(cls, value):
        return value
""",
    "vllm/entrypoints/__init__.py": "",
    "vllm/entrypoints/cli/__init__.py": "",
    "vllm/entrypoints/cli/types.py": "class CLISubcommand: pass",
    "vllm/entrypoints/cli/serve.py": """
import argparse, json, typing, uvloop
from vllm.config import Config
from vllm.entrypoints.cli.types import CLISubcommand
from vllm.kernels import SIZE, Backend
def optional_type(return_type):
    def _optional_type(val):
        return None if val == 'None' else return_type(val)
    return _optional_type
class ServeSubcommand(CLISubcommand):
    def subparser_init(self, subparsers):
        parser = subparsers.add_parser('serve')
        config = Config()
        parser.add_argument('model_tag', nargs='?')
        parser.add_argument('--dtype', default=config.dtype, choices=['half', 'auto'])
        parser.add_argument('--share', '-s', '--portion', type=float, default=config.share)
        parser.add_argument('--mode', default=config.mode)
        parser.add_argument('--device', default=config.device)
        parser.add_argument('--backend', choices=typing.get_args(Backend))
        parser.add_argument('--size', type=optional_type(int), default=SIZE)
        parser.add_argument('--eager', action=argparse.BooleanOptionalAction, default=False)
        parser.add_argument('--names', nargs='+')
        parser.add_argument('--more', action='append', type=json.loads)
        return parser
""",
    "vllm/model_executor/models/registry.py": """
import torch
_TEXT_MODELS = {'AForCausalLM': ('a', 'A'), 'BForCausalLM': ('b', 'B')}
_PREVIOUSLY_SUPPORTED_MODELS = {'OldForCausalLM': '0.1'}
_VLLM_MODELS = {**_TEXT_MODELS}
""",
    "vllm/model_executor/layers/quantization/__init__.py": """
import torch
QuantizationMethods = Literal['awq', 'fp8', 'mine', 'tpu']
def get_quantization_config(name):
    from .awq import AWQConfig
    from vllm.model_executor.layers.quantization.fp8 import Fp8Config, MineConfig
    return {'awq': AWQConfig, 'fp8': Fp8Config, 'mine': MineConfig}[name]
""",
    "vllm/model_executor/layers/quantization/awq.py": """
class AWQConfig(Base):
    def get_min_capability(cls):
        return 75
""",
    "vllm/model_executor/layers/quantization/fp8.py": """
class Fp8Config(Base):
    def get_min_capability(cls):
        return 80
class MineConfig(Fp8Config):
    pass
""",
}  # fmt: skip


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    for name, source in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return tmp_path


def test_flags_are_read_without_the_engines_packages(wheel: Path):
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", str(TOOL / "read_vllm.py"), str(wheel)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {flag.pop("name"): flag for flag in json.loads(done.stdout)} == {
        "dtype": {"type": "str", "choices": ["auto", "half"], "default": "auto"},
        "share": {"type": "float", "default": 0.9, "aliases": ["portion", "-s"]},
        "mode": {"type": "str", "default": "one"},
        "device": {"type": "str", "default": "cuda"},
        "backend": {"type": "str", "choices": ["fast", "slow"]},
        "size": {"type": "int", "default": 4096},
        "eager": {"type": "switch", "default": False, "negatable": True},
        "names": {"type": "str", "many": "words"},
        "more": {"type": "json", "many": "repeated"},
    }


def test_a_parser_that_cannot_be_made_names_the_release(wheel: Path):
    (wheel / "vllm/entrypoints/cli/serve.py").write_text("raise ValueError('no')")
    with pytest.raises(SystemExit, match="its flags could not be read"):
        extraction.read("vllm", wheel)


def test_a_type_that_is_not_known_is_not_guessed(wheel: Path):
    serve = wheel / "vllm/entrypoints/cli/serve.py"
    serve.write_text(serve.read_text().replace("type=float", "type=complex"))
    with pytest.raises(SystemExit, match=r"add it to read_vllm\.py"):
        extraction.read("vllm", wheel)


def test_architectures_are_what_is_served(wheel: Path):
    assert architectures(wheel) == {"AForCausalLM", "BForCausalLM"}


def test_quantizations_have_their_least_capability(wheel: Path):
    assert quantizations(wheel) == {"awq": 75, "fp8": 80, "mine": 80, "tpu": 0}


def test_ranges_begin_anew_where_a_flag_changes_or_returns():
    one, other = {"name": "a", "type": "int"}, {"name": "a", "type": "str"}
    tables = {"1": [one], "2": [one], "3": [other], "4": [], "5": [other]}
    assert merge.flags_by_range(tables) == [
        {"name": "a", "type": "int", "from": "1", "to": "2"},
        {"name": "a", "type": "str", "from": "3", "to": "3"},
        {"name": "a", "type": "str", "from": "5", "to": "5"},
    ]


def test_architecture_ranges_end_only_before_the_newest():
    tables = {"0.8.5": {"A", "B"}, "0.9.0": {"A", "C"}}
    ranges = merge.architectures_by_range(tables, {"A": "0.6.0"}, "0.8.5")
    assert ranges == {"A": ["0.6.0"], "B": ["0.8.5", "0.8.5"], "C": ["0.9.0"]}


def test_written_files_are_json_with_a_row_to_a_line():
    text = merge.one_per_line({"origin": "here"}, "flags", [{"name": "b", "a": 1}, {"name": "c"}])
    assert json.loads(text) == {"origin": "here", "flags": [{"name": "b", "a": 1}, {"name": "c"}]}
    assert '  {"a": 1, "name": "b"},\n' in text


@pytest.mark.parametrize(("engine", "listed"), [("vllm", releases.VLLM), ("sglang", releases.SGLANG)])
def test_a_rerun_gives_the_committed_rows(engine: str, listed: dict[str, tuple[str, str]]):
    """For releases whose sources a run of the tool has left in the cache; a test fetches none."""
    committed = json.loads((extraction._CATALOGUE / engine / "flags.json").read_text())
    order = list(committed["releases"])
    assert sorted(order) == sorted(listed)
    cached = [version for version in order if CACHE.joinpath(*listed[version]).is_dir()]
    if not cached:
        pytest.skip("no sources of releases in the cache; run python -m tools.extract_flags")
    for version in {cached[0], cached[-1]}:
        rows = [
            {key: value for key, value in row.items() if key not in {"from", "to"}}
            for row in committed["flags"]
            if order.index(row["from"]) <= order.index(version) <= order.index(row["to"])
        ]
        assert extraction.read(engine, CACHE.joinpath(*listed[version])) == rows
