"""The variables of a running engine: what a stack file says of them, secrets by their names alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from berth.catalogue.engine_versions import flags
from berth.catalogue.secrets import secret
from berth.engines.registry import ENGINES
from berth.importing.engines import Found

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

_BESIDE_ENGINES = (
    *_OF_ENGINES, "NVIDIA_", "TRANSFORMERS_", "TOKENIZERS_", "TORCHINDUCTOR_", "TRITON_", "FLASHINFER_", "RAY_",
    "GLOO_", "UCX_", "CUBLAS_", "MKL_", "MALLOC_", "PYTHON", "LC_", "XDG_",
)  # fmt: skip
_HARMLESS = frozenset({
    "LANG", "TZ", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "DO_NOT_TRACK", "LOG_LEVEL", "LD_PRELOAD", "TMPDIR",
})  # fmt: skip
"""With those that begin as above, the variables whose values are written: nobody knows what others hold."""


@dataclass(frozen=True, kw_only=True)
class Variables:
    """Those with values, those that are secrets with the secrets' names, and a remark on each that is not written."""

    plain: Mapping[str, str]
    secrets: Mapping[str, str]
    remarks: Sequence[str]


def variables(found: Found) -> Variables:
    """What somebody gave an engine beside what its image has and what Berth sets itself."""
    own = ENGINES[found.line.engine].environment_variables("cpu", version=found.version or "0", offline=True)
    read = _read_as_flags(found)
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
        elif variable in read:
            continue
        elif variable.startswith(_BESIDE_ENGINES) or variable.upper() in _HARMLESS:
            plain[variable] = value
        else:
            remarks.append(f"{variable} is not written, since it may be a secret: add it to environment or to secrets")
    return Variables(plain=plain, secrets=secrets, remarks=remarks)


def _read_as_flags(found: Found) -> frozenset[str]:
    """TGI's flags may all be variables, which are read with its command line."""
    if found.line.engine != "tgi":
        return frozenset()
    return frozenset(name.replace("-", "_").upper() for name in flags("tgi", found.line.version).by_name)
