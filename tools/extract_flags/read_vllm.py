"""Prints the flags of `vllm serve` as JSON, from an unpacked wheel: `python -I read_vllm.py FOLDER`.

The engine's own code builds its parser, on stands for everything that a parser does not need (see stubs.py). Run in an
interpreter of its own, since the stands stay. With `--real` in place of a folder it reads the vLLM that is installed in
the running interpreter, which is how the reading on stands is checked.
"""

from __future__ import annotations

import argparse
import enum
import importlib
import json
import sys
import typing
import zlib
from pathlib import Path
from typing import Any, cast

_REAL_MODULES = (
    r"vllm\.(config(\..*)?|engine|engine\.arg_utils|envs|utils(\.(argparse_utils|import_utils|mem_constants))?"
    r"|entrypoints(\.(openai|launchers|serve|cli|cli\.serve|cli\.types))?|.*\.cli_args|.*\.constants"
    r"|model_executor\.layers\.quantization|v1\.attention\.backends\.registry|attention\.backends\.registry)"
)
"""The modules of vLLM that make its parser, over all releases since 0.8.5."""

_CONVERTED = {int: "int", float: "float", str: "str", bool: "bool", None: "str", json.loads: "json"}
_NAMED = {
    "human_readable_int": "int",
    "human_readable_int_or_auto": "int",
    "union_dict_and_str": "json",
    "parse_dataclass": "json",
    "from_cli": "json",
    "from_json": "json",
    "<lambda>": "json",
    "parse_reasoning_parser": "str",
    "nullable_str": "str",
    "json_list_type": "json",
}


def prepare(folder: str) -> None:
    """Makes `import vllm` mean the unpacked wheel, on stands; the platform is CUDA, whose defaults are wanted."""
    sys.path.insert(0, str(Path(__file__).parent))
    sys.path.insert(0, folder)
    stubs = importlib.import_module("stubs")
    stubs.install("vllm", real=_REAL_MODULES)
    # vLLM takes the first Literal out of a set of types. Its hash depends on where the interpreter lies in memory, so
    # that vLLM 0.8 offers other choices of one flag at each start; here they are the same each time.
    vars(typing)["_LiteralGenericAlias"].__hash__ = lambda held: zlib.crc32(repr(held).encode())
    cuda = type("Cuda", (stubs.Stand,), {"device_type": "cuda", "device_name": "cuda", "is_cuda": lambda _self: True})
    for name, attributes in {
        "vllm.platforms": {"current_platform": cuda("platform")},
        "vllm.version": {"__version__": "0"},
    }.items():
        module = stubs.StandModule(name)
        vars(module).update(attributes)
        sys.modules[name] = module


def serve_parser() -> argparse.ArgumentParser:
    """The parser of `vllm serve`, made by vLLM itself."""
    try:
        utilities = importlib.import_module("vllm.utils.argparse_utils")
    except ModuleNotFoundError:
        utilities = importlib.import_module("vllm.utils")
    subparsers = utilities.FlexibleArgumentParser().add_subparsers()
    command: Any = importlib.import_module("vllm.entrypoints.cli.serve").ServeSubcommand()
    return cast("argparse.ArgumentParser", command.subparser_init(subparsers))


def flag(action: argparse.Action, options: list[str]) -> dict[str, Any] | None:
    """One flag as plain data, `options` being all its option strings, hidden ones included; None for help."""
    if not options or type(action).__name__ == "_HelpAction":
        return None
    long = [option[2:] for option in options if option.startswith("--")]
    # vLLM 0.33 pairs --enable-x with --disable-x; before, and beside it, --no-x negates.
    negative = {option[2:] for option in getattr(action, "negative_option_strings", ())}
    negative |= {name for name in long if name.startswith("no-") and name[3:] in long}
    names = list(dict.fromkeys(name.replace("_", "-") for name in long if name not in negative))
    found: dict[str, Any] = {"name": names[0], "type": _type(action)}
    choices = [choice for choice in _plain(list(action.choices or ())) if choice not in {None, "None"}]
    extras = {
        "aliases": sorted(names[1:]) + [option for option in options if not option.startswith("--")],
        "choices": sorted(choices, key=str),
        "inverses": sorted(name for name in negative if not name.startswith("no-")),
    }
    found.update({key: value for key, value in extras.items() if value})
    if any(name.startswith("no-") for name in negative):
        found["negatable"] = True
    if action.nargs in {"+", "*"} or type(action).__name__ == "_AppendAction":
        found["many"] = "words" if action.nargs in {"+", "*"} else "repeated"
    default = _plain(action.default)
    if default is not None and default != argparse.SUPPRESS:
        found["default"] = default
    return found


def flags(parser: argparse.ArgumentParser) -> list[dict[str, Any]]:
    """All flags of a parser, by name."""
    options: dict[int, list[str]] = {}
    for option, action in parser._option_string_actions.items():  # noqa: SLF001  # argparse lists them nowhere else
        options.setdefault(id(action), []).append(option)
    found = [flag(action, options.get(id(action), [])) for action in parser._actions]  # noqa: SLF001  # as above
    return sorted((held for held in found if held is not None), key=lambda held: str(held["name"]))


def _type(action: argparse.Action) -> str:
    if action.nargs == 0:
        return "switch"
    convert = action.type
    while (closed := _closed_over(convert)) is not None:  # optional_type(int), parse_type(float) and their like
        convert = closed
    if convert in _CONVERTED:
        return _CONVERTED[convert]
    name = getattr(convert, "__name__", repr(convert).strip("<>").rpartition(".")[2])
    if name not in _NAMED:
        raise SystemExit(f"--{action.dest}: type {convert!r} is not known; add it to read_vllm.py")
    return _NAMED[name]


def _closed_over(convert: Any) -> Any:
    """The type inside a converter that vLLM makes around one, else None."""
    if getattr(convert, "__name__", "") not in {"_optional_type", "_parse_type"}:
        return None
    held = dict(zip(convert.__code__.co_freevars, convert.__closure__, strict=True))
    return held["return_type"].cell_contents if "return_type" in held else held["val"].cell_contents


def _plain(value: Any) -> Any:
    """A default or choice as JSON holds it; None for what stands or objects stand for."""
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(part) for part in value]
    return None


if __name__ == "__main__":
    if sys.argv[1] != "--real":
        prepare(sys.argv[1])
    json.dump(flags(serve_parser()), sys.stdout, indent=1, sort_keys=True)
