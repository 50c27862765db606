"""An engine's command line as its flags: by their own names, each with a value of its own type.

The inverse of `berth.engines.contract.flags`, for command lines that anybody wrote.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from berth.catalogue.engine_versions import Flag, flags, newest
from berth.catalogue.json_values import json_value

_SHELLS = {"sh", "bash", "dash", "ash"}
_MODULES = {"vllm.entrypoints.openai.api_server": "vllm", "sglang.launch_server": "sglang"}
_SERVERS = {"vllm": "vllm", "sglang": "sglang"}
"""Programs that serve with the word `serve`."""
_ABOUT = frozenset({
    "docker", "podman", "nerdctl", "kubectl", "ssh", "sudo", "su", "grep", "egrep", "pgrep", "watch", "tail", "less",
    "vi", "vim", "nano", "tmux", "screen", "strace",
})  # fmt: skip
"""Programs whose words may be those of an engine that runs elsewhere, or that they have started."""
_LAUNCHERS = {"text-generation-launcher", "tgi-entrypoint.sh"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """What a command line of an engine says.

    Attributes:
        engine: vllm, sglang or tgi.
        version: the release whose flags were looked up.
        model: what follows the program's name, for engines that take the model so.
        flags: canonical names without dashes; a dot leads to a part of a JSON flag.
        unknown: those of `flags` that no release known has.
        left: how many words were not understood; they may be secret and are not kept.
    """

    engine: str
    version: str
    model: str
    flags: Mapping[str, Any]
    unknown: frozenset[str] = frozenset()
    left: int = 0


def read(words: Sequence[str], environment: Mapping[str, str], version: str | None = None) -> Line | None:
    """The engine that a command line starts, None for anything else.

    Args:
        words: the command line.
        environment: its variables, from which a shell's words and TGI's flags may come.
        version: the engine's release, whose flags are looked up; None takes the newest that is known.
    """
    for command in _commands(words, environment):
        found = _engine(command)
        if found is not None:
            name, rest = found
            reading = _Reading(name, version or newest(name))
            reading.take(rest)
            if name == "tgi":
                reading.take_variables(environment)
            return reading.line()
    return None


def _commands(words: Sequence[str], environment: Mapping[str, str]) -> list[list[str]]:
    """The simple commands of a command line: itself, or those of the script that it hands to a shell."""
    if not words or PurePosixPath(words[0]).name not in _SHELLS:
        return [list(words)]
    options = [place for place, word in enumerate(words) if word.startswith("-") and word.endswith("c")]
    if not options or options[0] + 1 >= len(words):
        return [list(words)]
    lexer = shlex.shlex(words[options[0] + 1], posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    try:
        for word in lexer:
            if set(word) <= set("();<>|&"):
                commands.append([])
            elif word != "\n":
                commands[-1].append(_expanded(word, environment))
    except ValueError:  # a quote that does not end
        return []
    return commands


def _expanded(word: str, environment: Mapping[str, str]) -> str:
    for name, value in environment.items():
        word = word.replace("${" + name + "}", value)
        if word == f"${name}":
            word = value
    return word


def _engine(words: Sequence[str]) -> tuple[str, list[str]] | None:
    """The engine that a command starts and the words after its name."""
    if not words or PurePosixPath(words[0]).name in _ABOUT:
        return None
    for place, word in enumerate(words):
        name, after = PurePosixPath(word).name, list(words[place + 1 :])
        if word == "-m" and after and after[0] in _MODULES:
            return _MODULES[after[0]], after[1:]
        if name in _SERVERS and after[:1] == ["serve"]:
            return _SERVERS[name], after[1:]
        if name in _LAUNCHERS:
            return "tgi", [one for one in after if PurePosixPath(one).name not in _LAUNCHERS]
        if word.startswith("--"):
            return None
    return None


class _Reading:
    def __init__(self, engine: str, version: str) -> None:
        self._engine, self._version, self._table = engine, version, flags(engine, version)
        self._found: dict[str, Any] = {}
        self._unknown: set[str] = set()
        self._model, self._left = "", 0

    def line(self) -> Line:
        return Line(
            engine=self._engine,
            version=self._version,
            model=self._model,
            flags=self._found,
            unknown=frozenset(self._unknown),
            left=self._left,
        )

    def take(self, words: Sequence[str]) -> None:
        waiting = list(words)
        while waiting:
            word = waiting.pop(0)
            if _is_flag(word):
                self._flag(word, waiting)
            elif not self._model and not self._found:
                self._model = word
            else:
                self._left += 1

    def take_variables(self, environment: Mapping[str, str]) -> None:
        """TGI takes every flag from a variable too; what is said as a flag comes first."""
        for name, flag in self._table.by_name.items():
            value = environment.get(name.replace("-", "_").upper())
            if value is not None and flag.name not in self._found:
                self._found[flag.name] = value.lower() == "true" if flag.type == "switch" else typed(flag, value)

    def _flag(self, word: str, waiting: list[str]) -> None:
        said, equals, given = word.partition("=")
        name, dot, part = said.lstrip("-").partition(".")
        name = name.replace("_", "-")
        flag = self._find(name)
        if flag is None and name.startswith("no-") and (negated := self._find(name[3:])) is not None:
            self._found[negated.name] = False
        elif flag is None:
            self._unknown.add(name)
            self._found[f"{name}{dot}{part}"] = given if equals else self._guess(waiting)
        elif flag.type == "switch":
            self._found[flag.name] = name not in flag.inverses
        elif flag.many is not None and not equals:
            values = [typed(flag, one) for one in self._values(flag, waiting)]
            self._found[flag.name] = [*self._found.get(flag.name, ()), *values]
        else:
            value = given if equals else waiting.pop(0) if waiting else ""
            self._found[f"{flag.name}{dot}{part}"] = typed(flag, value)

    def _find(self, name: str) -> Flag | None:
        """The flag of this release, else of the last that had it: an engine that runs has taken it somehow.

        As their parsers do, one that is cut short is taken for the only one that begins so.
        """
        flag = self._table.find(name)
        if flag is not None:
            return flag
        if spans := self._table.releases_with(name):
            return flags(self._engine, spans[-1][1]).find(name)
        begun = {one.name: one for full, one in self._table.by_name.items() if full.startswith(name)}
        return next(iter(begun.values())) if len(begun) == 1 else None

    def _values(self, flag: Flag, waiting: list[str]) -> list[str]:
        values = []
        while waiting and not _is_flag(waiting[0]):
            values.append(waiting.pop(0))
            if flag.many == "repeated":
                break
        return values

    def _guess(self, waiting: list[str]) -> Any:
        if not waiting or _is_flag(waiting[0]):
            return True
        return _number(waiting.pop(0))


def _is_flag(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not isinstance(_number(word), int | float)


def typed(flag: Flag, word: str) -> Any:
    """A word as the value of a flag; as it is where it does not look like one."""
    if flag.type in {"int", "float"}:
        return _number(word)
    if flag.type == "json":
        try:
            return json_value(word)
        except ValueError:
            return word
    return word


def _number(word: str) -> int | float | str:
    if re.fullmatch(r"-?\d{1,18}", word):
        return int(word)
    return float(word) if re.fullmatch(r"-?\d*\.\d+|-?\d+(\.\d*)?[eE]-?\d+", word) else word
