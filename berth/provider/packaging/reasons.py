"""What the lines of a failed package manager mean, said in one."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SPECIFIC: tuple[tuple[str, str], ...] = (
    (
        r"""(?ix) could\ not\ resolve | temporary\ failure\ resolving | could\ not\ connect | unable\ to\ connect
        | connection\ timed\ out | connection\ refused | network\ is\ unreachable | curl\ error\ \((5|6|7|28)\)""",
        "this host does not reach the repository; look at its network, its name servers and its proxy",
    ),
    (
        r"""(?ix) is\ not\ valid\ yet | certificate\ is\ not\ yet\ valid | not\ live\ until | certificate\ has\ expired
        | is\ expired\ \(invalid\ since""",
        "by this host's clock the repository is out of date or from the future; compare `date` there with the time",
    ),
    (
        r"""(?ix) no_pubkey | expkeysig | keyexpired | is\ not\ signed | signature\ verification\ failed | missing\ key
        | couldn't\ be\ verified | gpg\ check\ failed | gpg\ signature\ verification\ error | bad\ gpg\ signature""",
        "what the repository signed does not fit the key that is declared for it",
    ),
    (
        r"Conflicting values set for option (Signed-By|Trusted)",
        "two entries of this host declare one repository with two keys; remove the older one, which is named here",
    ),
    (
        r"(?i)enough free space|No space left on device|more space needed on the",
        "its disk is full; make room on the host and run the same again",
    ),
    (
        r"(?i)\b404\b|File not found|does not have a Release file",
        "the repository has no such file: its address, suite or architecture is wrong, or it was moved",
    ),
    (r"Hash Sum mismatch|File has unexpected size", "the repository was changing while it was read; run this again"),
    (
        r"Unable to locate package|has no installation candidate|Unable to find a match|No match for argument",
        "no repository of this host has this package; declare the one that has it",
    ),
    (
        r"Version '.*' for '.*' was not found",
        "no repository of this host has it in this version; `apt-cache madison` with its name lists those that are",
    ),
    (
        r"Held packages were changed|filtered out by exclude filtering",
        "a package is held that would have to change; take its hold off, or declare it",
    ),
    (r"filtered out by modular filtering", "a module stream hides it; enable the one that has it"),
    (
        r"(?i)unmet dependencies|held broken packages|conflicting requests|nothing provides",
        "these packages cannot be installed together; the last lines say which",
    ),
    (
        r"Could not get lock|Unable to acquire the dpkg frontend lock",
        "another package manager came in between; run it again",
    ),
)

_GENERAL: tuple[tuple[str, str], ...] = (
    (r"returned an error code", "a script of a package failed; the last lines are its own"),
)


def explain(lines: Sequence[str]) -> str:
    """What the lines mean, the last that has a known meaning first; empty where none has."""
    for table in (_SPECIFIC, _GENERAL):
        for line in reversed(lines):
            for pattern, reason in table:
                if re.search(pattern, line):
                    return reason
    return ""
