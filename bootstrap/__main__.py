"""Entry for `python3 -m bootstrap`: finds a new enough Python, then hands over. Must parse under any Python 3."""

import os
import shutil
import subprocess
import sys


def _newer() -> "str | None":
    """A Python on PATH that is new enough, the best tested one first; a launcher that starts nothing does not count."""
    for name in ("python3.11", "python3.12", "python3.13"):
        path = shutil.which(name)
        if path and subprocess.run([path, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
            return path
    return None


if sys.version_info < (3, 11):  # noqa: UP036 -- the Python that a machine has is what this line is about
    newer = _newer()
    if newer is not None:
        os.execv(newer, [newer, "-m", "bootstrap", *sys.argv[1:]])  # noqa: S606 -- replaces itself, needs no shell
    found = ".".join(str(part) for part in sys.version_info[:3])
    sys.stderr.write("python: is {}, must be 3.11 or newer; install python3.11 and run again\n".format(found))  # noqa: UP032 -- as above
    sys.exit(1)

from bootstrap.cli import main  # noqa: E402 -- its syntax is only for a Python that passed the check above

sys.exit(main(sys.argv[1:]))
