"""The CDI specification of the GPUs of a host: exactly one file, of the driver that is loaded and the GPUs there are."""

from __future__ import annotations

from typing import Literal

from berth.provider.operation import Want


class CdiSpecificationWant(Want):
    """One specification of `kind`, written to where `refreshed_by` says.

    With `unit` it is that of the toolkit's own nvidia-cdi-refresh.service (1.18 and newer), /var/run/cdi/nvidia.yaml,
    which then starts before Docker; with `nobody` it is /etc/cdi/nvidia.yaml, made once. `disabled_hooks` are left out
    of it: `enable-cuda-compat` on a GeForce whose images bring a newer CUDA than its driver. `problems` and
    `duplicates` (other files of the same kind) are there to be observed; `before_docker` is the order at boot.
    """

    kind: str = "nvidia.com/gpu"
    refreshed_by: Literal["unit", "nobody"] = "unit"
    disabled_hooks: list[str] = []
    before_docker: bool = True
    problems: list[str] = []
    duplicates: list[str] = []
    on_destroy: Literal["keep", "remove"] = "keep"
