"""The NVIDIA container toolkit beside Docker: new enough, in the right mode, and known to the running dockerd.

Its four packages are a `Packages` resource; its runtime is registered by `DockerConfiguration`
(`berth.catalogue.docker.NVIDIA_RUNTIME`), which comes before this, so that one restart of dockerd serves both.
"""

from __future__ import annotations

from typing import Literal

from berth.provider.operation import Want


class ContainerToolkitWant(Want):
    """A toolkit of at least version `minimum`, configured in `config`.

    `mode` is how its runtime gives GPUs to containers. `no_cgroups` is a leftover of rootless set-ups that takes the
    GPUs away from all others. `detected` is observed: whether dockerd started after the toolkit came, since from 29.3
    on it looks for it at its start only.
    """

    minimum: str = "1.18.0"
    installed: Literal["new enough", "too old", "missing"] = "new enough"
    config: str = "/etc/nvidia-container-runtime/config.toml"
    mode: Literal["auto", "cdi", "jit-cdi", "legacy"] = "auto"
    no_cgroups: bool = False
    problem: str = ""
    detected: bool = True
    unit: str = "docker.service"
    on_destroy: Literal["keep", "remove"] = "keep"
