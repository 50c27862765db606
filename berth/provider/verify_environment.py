"""Runs on a host, in the environment that it verifies, with `-I -S`; prints the distributions whose files are missing.

Existence and size of every recorded file are compared, not its digest: an engine's environment has some 6 GB.
"""

import csv
import os
import sys
import sysconfig


def broken(site: str) -> list[str]:
    """The distributions below `site` that miss a file or have one of another size than they recorded."""
    found = []
    for entry in sorted(os.listdir(site)):
        record = os.path.join(site, entry, "RECORD")
        if not entry.endswith(".dist-info") or not os.path.exists(record):
            continue
        with open(record, newline="", encoding="utf-8") as lines:
            if not all(_as_recorded(os.path.join(site, row[0]), row[2]) for row in csv.reader(lines) if row):
                found.append(entry.removesuffix(".dist-info").rsplit("-", 1)[0])
    return found


def _as_recorded(path: str, size: str) -> bool:
    # Compiled files come and go, and installers rewrite the first line of scripts, which lie outside site-packages.
    if path.endswith(".pyc"):
        return True
    try:
        return not size or os.stat(path).st_size == int(size) or "/../" in path
    except OSError:
        return False


if __name__ == "__main__":
    # Imported from another environment, sysconfig still answers for the running interpreter: this one.
    place = sysconfig.get_path("purelib", vars={"base": sys.argv[1], "platbase": sys.argv[1]})
    missing = [f"overlay:{name}" for name in sys.argv[2:] if not os.path.exists(os.path.join(place, name))]
    print("\n".join(broken(place) + missing))  # noqa: T201 -- its output is read by the provider
