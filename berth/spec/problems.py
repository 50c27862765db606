"""What is wrong with a stack file, said so that the reader can act: where, what is, what must be, what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake in a stack file; `where` is its path (`models.qwen.context`), `line` its line in the file."""

    line: int
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where} (line {self.line}): {self.text}" if self.line else f"{self.where}: {self.text}"


class SpecError(Exception):
    """A stack file that cannot be used, with all its problems, in the order of the file."""

    def __init__(self, path: Path, problems: Iterable[Problem]) -> None:
        self.path = path
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(f"{path}: {problem}" for problem in self.problems))


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The known word that is most like `word`, None when no one is near."""
    candidates = {name.lower(): name for name in known}
    found = get_close_matches(str(word).lower().replace("-", "_"), candidates, n=1, cutoff=0.6)
    return candidates[found[0]] if found else None


def one_of(words: Iterable[str]) -> str:
    """Words as a choice for a sentence: `a, b or c`."""
    listed = list(words)
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} or {listed[-1]}"
