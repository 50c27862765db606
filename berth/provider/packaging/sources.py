"""Entries of package repositories as apt and dnf read them: written whole, and read where others have written them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from berth.facts import HostFacts

_ONE_LINE = re.compile(r"^\s*deb(-src)?\s+(\[[^\]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)")
_FIELD = re.compile(r"^([A-Za-z-]+):\s*(.*)$")
_LOGIN = re.compile(r"//[^/@\s]*@")
_SHOWN, _LINES = 120, 4
_SECTION = re.compile(r"^\[([^\]]+)\]\s*$", re.MULTILINE)


def deb822(fields: Mapping[str, Sequence[str]]) -> str:
    """One stanza; fields without a value are left out."""
    return "".join(f"{name}: {' '.join(values)}\n" for name, values in fields.items() if values)


def repo(name: str, fields: Mapping[str, str]) -> str:
    """One section of a .repo file."""
    return "".join([f"[{name}]\n", *(f"{key}={value}\n" for key, value in fields.items())])


def entries(path: str, text: str) -> Iterator[tuple[str, str]]:
    """The repositories that a file declares to apt and that are not switched off, as (address, suite)."""
    if path.endswith(".sources"):
        for stanza in re.split(r"\n\s*\n", text):
            fields = _fields(stanza)
            if fields.get("enabled", "yes").lower() not in {"no", "false", "0"}:
                for uri in fields.get("uris", "").split():
                    yield from ((_plain(uri), suite) for suite in fields.get("suites", "").split())
    elif path.endswith(".list"):
        for line in text.splitlines():
            if found := _ONE_LINE.match(line):
                yield _plain(found["uri"]), found["suite"]


def also_declared(facts: HostFacts, own: str, uris: Sequence[str], suites: Sequence[str]) -> list[str]:
    """The files beside `own` that declare one of these repositories to apt: two keys for one stop apt altogether."""
    ours = {(_plain(uri), suite) for uri in uris for suite in suites}
    return sorted(
        path
        for path, file in facts.files.items()
        if path.startswith("/etc/apt/sources.list") and path != own and ours & set(entries(path, file.content or ""))
    )


def also_named(facts: HostFacts, own: str, name: str) -> list[str]:
    """The files beside `own` that have a repository of this name for dnf: the one that is read last counts."""
    return sorted(
        path
        for path, file in facts.files.items()
        if path.startswith("/etc/yum.repos.d/") and path.endswith(".repo") and path != own
        if name in _SECTION.findall(file.content or "")
    )


def said(text: str, name: str) -> dict[str, str]:
    """The fields of an entry that Berth may have written, by their names in small letters: one stanza or section."""
    lines = text.splitlines()
    if f"[{name}]" in lines:
        pairs = (line.partition("=") for line in lines if "=" in line)
        return {key.strip().lower(): value.strip() for key, _, value in pairs}
    return _fields(text)


def odd(text: str, expected: str) -> str:
    """What of an entry is not as expected, line by line and without logins; empty where it is the same."""
    if text == expected:
        return ""
    have, want = text.splitlines(), expected.splitlines()
    lines = [line for line in have if line not in want] + [f"no {line}" for line in want if line not in have]
    shown = "; ".join(_LOGIN.sub("//", line)[:_SHOWN] for line in lines[:_LINES])
    return shown or "the lines of the entry in another order"


def _fields(stanza: str) -> dict[str, str]:
    """The fields of a stanza by their names in small letters; a line that begins with a blank goes on."""
    fields: dict[str, str] = {}
    last = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if found := _FIELD.match(line):
            last = found[1].lower()
            fields[last] = found[2]
        elif last and line[:1].isspace():
            fields[last] += f" {line.strip()}"
    return fields


def _plain(uri: str) -> str:
    return uri.rstrip("/")
