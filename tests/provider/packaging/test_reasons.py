"""Why a package manager failed, from lines that apt 3.0 and dnf 4 write."""

from __future__ import annotations

import pytest

from berth.provider.packaging import is_exact, satisfies
from berth.provider.packaging.reasons import explain


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["E: Failed to fetch http://x/y.deb  Temporary failure resolving 'x'"], "does not reach the repository"),
        (
            ["Errors during downloading metadata", "  - Curl error (7): Couldn't connect"],
            "does not reach the repository",
        ),
        (["E: Failed to fetch http://x/y.deb  404  Not Found [IP: 127.0.0.1 80]"], "no such file"),
        (["E: Release file for http://x is not valid yet (invalid for another 1d)."], "clock"),
        (["E: The repository 'http://x / Release' is not signed."], "does not fit the key"),
        (["W: GPG error: http://x / InRelease: NO_PUBKEY 0123"], "does not fit the key"),
        (["E: Conflicting values set for option Signed-By regarding source http://x /: /a != "], "two keys"),
        (["E: You don't have enough free space in /var/cache/apt/archives/."], "disk is full"),
        (
            [
                "dpkg: cannot copy extracted data: No space left on device",
                "E: Sub-process dpkg returned an error code (1)",
            ],
            "disk is full",
        ),
        (
            ["post-installation script", "E: Sub-process /usr/bin/dpkg returned an error code (1)"],
            "a script of a package",
        ),
        (["W: http://other: Temporary failure resolving 'other'", "E: Unable to locate package foo"], "no repository"),
        (["No match for argument: foo", "Error: Unable to find a match: foo"], "no repository"),
        (["E: Version '580.*' for 'foo' was not found"], "in this version"),
        (["Error: ", " Problem: conflicting requests"], "cannot be installed together"),
        (["All matches were filtered out by exclude filtering for argument: foo"], "is held"),
        (["something new"], ""),
    ],
)
def test_the_last_known_reason_is_said(lines: list[str], reason: str) -> None:
    assert reason in explain(lines)
    assert bool(explain(lines)) == bool(reason)


@pytest.mark.parametrize(
    ("version", "asked", "fits"),
    [
        ("580.95.05-1", "any", True),
        ("580.95.05-1", "absent", False),
        ("580.95.05-1", "580.*", True),
        ("5800.1-1", "580.*", False),
        ("580.95.05-1", "580.95.05-1", True),
        ("580.95.05-1", "580.95.05", False),
        ("3:580.95.05-1", "580.95.05-1", True),
        ("3:580.95.05-1", "3:580.*", True),
        ("580.95.05-1", "3:580.*", False),
    ],
)
def test_a_version_is_what_is_asked_or_not(version: str, asked: str, *, fits: bool) -> None:
    assert satisfies(version, asked) == fits


def test_only_one_version_is_exact() -> None:
    assert [is_exact(asked) for asked in ("1.2", "1.*", "any", "absent")] == [True, False, False, False]
