"""The variables of a running engine: what a stack file says of them, secrets by their names alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from berth.engines.registry import ENGINES
from berth.importing.engines import Found
from berth.running.meaning import secret

CACHES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE")
"""Name the folder of downloads."""

TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN")
"""Hold the hub's token."""

_BERTHS = frozenset({
    *CACHES, "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES",
    "HF_HUB_OFFLINE", "PATH", "HOME", "HOSTNAME", "LD_LIBRARY_PATH",
})  # fmt: skip
"""Variables that Berth sets itself, or that mean nothing elsewhere."""

_OF_ENGINES = ("VLLM_", "SGLANG_", "SGL_", "NCCL_", "PYTORCH_", "CUDA_", "TORCH_", "HF_", "OMP_")
"""How the variables of a process begin that are about its engine; the others are its login's."""


@dataclass(frozen=True, kw_only=True)
class Variables:
    """Those with values, those that are secrets with the secrets' names, and a remark on each that is not written."""

    plain: Mapping[str, str]
    secrets: Mapping[str, str]
    remarks: Sequence[str]


def variables(found: Found) -> Variables:
    """What somebody gave an engine beside what its image has and what Berth sets itself."""
    own = ENGINES[found.line.engine].environment_variables("cpu", version=found.version or "0", offline=True)
    plain, secrets, remarks = dict[str, str](), dict[str, str](), list[str]()
    for variable, value in found.environment.items():
        if found.container is None and not variable.startswith(_OF_ENGINES):
            continue
        if variable in _BERTHS or variable in TOKENS or variable in own or not value:
            continue
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,199}", variable) or "\n" in value:
            remarks.append(f"a variable that a stack file cannot say is left out ({len(value)} letters)")
        elif secret(variable, value):
            secrets[variable] = variable.lower()[:64]
            remarks.append(f"{variable} is not written: `pulumi config set --secret {secrets[variable]}`")
        else:
            plain[variable] = value
    return Variables(plain=plain, secrets=secrets, remarks=remarks)
