"""Brings a model from a bucket into a folder of a host, and says what of it is there. Runs on the host.

`look` writes `{"path", "missing"}` without asking anybody. `download` reads the access key's id and the key, one line
each, from standard input (nothing for a public bucket), writes status lines, and last `{"path"}` or, with an exit
status of `stop.STATUS`, `{"error", "say"}`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from berth.provider.hub.bucket import Bucket
from berth.provider.hub.bucket_folder import BucketFolder
from berth.provider.hub.download import Download, refuse_full, told
from berth.provider.hub.selection import Listed, serving_needs
from berth.provider.hub.signing import Keys
from berth.provider.hub.status_lines import StatusLines, emit
from berth.provider.hub.stop import Stop


class FromBucket(Download):
    """Files of a bucket on their way into a folder."""

    def __init__(self, bucket: Bucket, folder: BucketFolder) -> None:
        super().__init__(bucket, folder, bucket.source)
        self._of = bucket

    def right(self, file: Listed, content: Path) -> bool:
        """See `Bucket.right`."""
        return self._of.right(file, content)

    def conditions(self, file: Listed) -> dict[str, str]:
        """A file that is written anew meanwhile must not be glued to the beginning of the old one."""
        return {"If-Match": f'"{file.blob}"'} if file.blob else {}


def bring(options: argparse.Namespace, folder: BucketFolder, keys: Keys | None) -> None:
    """Downloads what is missing of what serving needs.

    Raises:
        Stop: it cannot be had.
    """
    lines = StatusLines(f"asking {options.endpoint} for {options.url}")
    try:
        bucket = Bucket(options.url, options.endpoint, options.region, keys, lines)
        files = serving_needs(bucket.contents())
        left = sum(file.size - folder.here(file) for file in files)
        refuse_full(folder.root, left)
        FromBucket(bucket, folder).run(files)  # empty files are files, too
        folder.finish(files)
    finally:
        lines.end()


def keys_of(said: str) -> Keys | None:
    """The access key of two lines; None where there is none.

    Raises:
        Stop: it is half a key.
    """
    lines = [line.strip() for line in said.split("\n") if line.strip()]
    if len(lines) not in {0, 2}:
        text = f"the access key has {len(lines)} lines that are not empty, must have its id and the key, one line each"
        raise Stop("token", f"{text}; check both of its secrets")
    return Keys(*lines) if lines else None


def main(arguments: Sequence[str]) -> int:
    """Looks or downloads; returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=("look", "download"))
    parser.add_argument("--url", required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--region", required=True)
    parser.add_argument("--folder", required=True)
    options = parser.parse_args(arguments)
    folder = BucketFolder(Path(options.folder).expanduser())
    missing = folder.missing()
    if options.verb == "look":
        emit({"path": str(folder.root), "missing": missing})
        return 0

    def brought() -> dict[str, str]:
        said = sys.stdin.read()
        if missing != []:
            bring(options, folder, keys_of(said))
        return {"path": str(folder.root)}

    return told(brought, folder.root)
