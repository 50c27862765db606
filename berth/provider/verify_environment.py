"""Runs on a host, in the environment that it verifies, with `-I -S`; prints the distributions whose files are missing.

Existence and size of every recorded file are compared, not its digest: an engine's environment has some 6 GB.
"""

import csv
import os
import sys
import sysconfig


def broken(site: str) -> list[str]:
    """The distributions below `site` that miss a file or have one of a size that nobody recorded for it.

    Some files come with two distributions; which of them was written last is not known, so either size is right.
    """
    files: dict[str, list[tuple[str, str]]] = {}
    sizes: dict[str, set[str]] = {}
    for entry in sorted(os.listdir(site)):
        record = os.path.join(site, entry, "RECORD")
        if entry.endswith(".dist-info") and os.path.exists(record):
            with open(record, newline="", encoding="utf-8") as lines:
                rows = [(row[0], row[2]) for row in csv.reader(lines) if row and not row[0].endswith(".pyc")]
            files[entry.removesuffix(".dist-info").rsplit("-", 1)[0]] = rows
            for path, size in rows:
                sizes.setdefault(path, set()).add(size)
    return [name for name, rows in files.items() if not all(_there(site, path, sizes[path]) for path, _ in rows)]


def _there(site: str, path: str, sizes: set[str]) -> bool:
    """Whether a file is there as recorded; of scripts outside, whose first line is rewritten, only that they are."""
    try:
        size = os.stat(os.path.join(site, path)).st_size
    except OSError:
        return False
    return path.startswith("..") or "" in sizes or str(size) in sizes


if __name__ == "__main__":
    # Without site, an interpreter does not know that it is an environment's; Debian's then names its own folder.
    scheme = "venv" if "venv" in sysconfig.get_scheme_names() else "posix_prefix"
    place = sysconfig.get_path("purelib", scheme, vars={"base": sys.argv[1], "platbase": sys.argv[1]})
    missing = [f"overlay:{name}" for name in sys.argv[2:] if not os.path.exists(os.path.join(place, name))]
    print("\n".join(broken(place) + missing))  # noqa: T201 -- its output is read by the provider
