"""How CUDA, drivers and cards show in the log of any engine that runs on PyTorch."""

from __future__ import annotations

from berth.engines.contract import Failure

CUDA_FAILURES: tuple[Failure, ...] = (
    Failure(
        name="no-kernels",
        pattern=r"no kernel image is available for execution on the device"
        r"|with CUDA capability (?P<capability>sm_\w+) is not compatible with the current PyTorch",
        cause="the engine was built without kernels for this card",
        cure="use an engine version that has them: an RTX 50 card (sm_120) needs vLLM 0.9.2 or newer",
    ),
    Failure(
        name="driver-too-old",
        pattern=r"NVIDIA driver on your system is too old(?: \(found version (?P<found>\d+)\))?"
        r"|CUDA driver version is insufficient for CUDA runtime version|unsupported display driver / cuda driver"
        r"|nvidia-container-cli: requirement error: unsatisfied condition: cuda",
        cause="the NVIDIA driver is older than the CUDA version of the engine needs",
        cure="install a newer driver branch (CUDA 13 needs 580), or use an engine built with an older CUDA",
    ),
    Failure(
        name="no-card",
        pattern=r"No CUDA GPUs are available|Failed to infer device type|no CUDA-capable device is detected"
        r"|libcuda\.so\.1: cannot open shared object file|could not select device driver",
        cause="the engine sees no GPU",
        cure="check `nvidia-smi` on the host, and in a container the NVIDIA container toolkit",
    ),
    Failure(
        name="no-bfloat16",
        pattern=r"Bfloat16 is only supported on GPUs with compute capability of at least 8\.0",
        cause="this card has no bfloat16 (it needs compute capability 8.0)",
        cure="set `dtype: float16`",
    ),
    Failure(
        name="quantization-not-on-card",
        pattern=r"quantization method (?P<method>\S+) is not supported for the current GPU\.\s*"
        r"Minimum capability: (?P<needed>\d+)\. Current capability: (?P<capability>\d+)",
        cause="the quantization {method} needs compute capability {needed}, this card has {capability} (in tenths)",
        cure="use another quantization of the model or another card",
    ),
    Failure(
        name="nccl",
        pattern=r"NCCL error|ncclUnhandledCudaError|ncclSystemError|ncclInternalError",
        cause="the GPUs of this replica cannot talk to one another",
        cure="give the container more shared memory (`shm_size`), or without NVLink set NCCL_P2P_DISABLE=1",
    ),
    Failure(
        name="out-of-memory",
        pattern=r"CUDA out of memory\..*?Tried to allocate (?P<wanted>[\d.]+ \w+)",
        cause="the card ran out of memory while allocating {wanted}",
        cure="leave more of the card free: lower the share of this or of another model, or the context",
    ),
    Failure(
        name="out-of-memory",
        pattern=r"CUDA out of memory|CUDA error: out of memory",
        cause="the card ran out of memory",
        cure="leave more of the card free: lower the share of this or of another model, or the context",
    ),
)
