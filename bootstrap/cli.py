"""The command line of the bootstrap."""

from __future__ import annotations

import argparse
import signal
import sys
from types import FrameType

from bootstrap import environment, plugins, pulumi
from bootstrap.errors import BootstrapError
from bootstrap.pins import FOLDER, PLUGINS
from bootstrap.progress import Progress


def main(arguments: list[str]) -> int:
    """Do what is asked; the folder of Pulumi, or of a plugin, goes to stdout, everything else to stderr.

    Returns:
        0 when all is there, 1 when something is missing, 130 when interrupted.
    """
    parser = argparse.ArgumentParser(prog="python3 -m bootstrap", description=__doc__)
    parser.add_argument(
        "what",
        nargs="*",
        choices=[[], "venv", "pulumi", *PLUGINS],
        metavar="WHAT",
        help=f"venv, pulumi; both when left out; or a plugin for programs of your own: {', '.join(PLUGINS)}",
    )
    parser.add_argument("--dev", action="store_true", help="also what tests and checks need")
    parser.add_argument("--source", choices=pulumi.SOURCES, default="auto", help="where Pulumi comes from")
    parser.add_argument("--quiet", action="store_true", help="say only what is wrong")
    options = parser.parse_args(arguments)
    what = options.what or ["venv", "pulumi"]
    progress = Progress(quiet=options.quiet)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if "venv" in what:
            environment.ensure(FOLDER.parent, progress, dev=options.dev)
        if "pulumi" in what:
            sys.stdout.write(f"{pulumi.ensure(progress, options.source)}\n")
        for plugin in what:
            if plugin in PLUGINS:
                sys.stdout.write(f"{plugins.ensure(PLUGINS[plugin], progress, options.source)}\n")
    except BootstrapError as error:
        progress.warn(f"bootstrap: {error}")
        return 1
    except KeyboardInterrupt:
        progress.warn("bootstrap: interrupted; what was finished is kept, run it again to go on")
        return 130
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
