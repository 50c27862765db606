"""What a process holds beside torch's memory: CUDA's context, communication, captured graphs, adapters."""

from __future__ import annotations

from packaging.version import Version

from berth.catalogue.gpus import Gpu
from berth.catalogue.models import ModelShape
from berth.catalogue.units import Bytes
from berth.planner.memory.serving import Batch, Generation, Serving
from berth.planner.memory.weights import parameters

__all__ = ["adapters", "communication", "context", "graph_sizes", "graphs", "nccl_first", "outside_torch"]

_ALONE = 0.08
"""GiB outside torch on one card: kernels, cuBLAS handles (0.02-0.13 in start-up logs)."""

_PCIE, _NVLINK = 0.12, 0.47
"""GiB of NCCL and all-reduce buffers for 2 to 4 ranks, without and with NVLink (0.1-0.2 and 0.5-0.65 in logs)."""

_OLD_NCCL = 1.4
"""GiB of the same with the NCCL of 2024 on NVSwitch systems (1.5 in logs of V0)."""

_FIRST = 0.93
"""GiB that NCCL holds before the snapshot since it comes first ("77.64/79.18 GiB" free at TP 2, 78.57 at TP 1); what
Hopper's all-reduce kernels add later is _NVLINK again."""

_NCCL_FIRST = Version("0.11.1")
_GRAPHS_PROFILED = Version("0.18.0")

_GRAPH_RESIDUE = 0.25
"""GiB that trial captures of CUDA graphs leave outside torch from 0.18 to 0.23, where they run inside the profile."""

_EIGHT = 1.6
"""GiB at 8 ranks and more on NVSwitch systems (up to 2 in logs)."""

_RUNNER_BUFFERS = 0.2
"""GiB of the model runner's own buffers, which the accounting from 0.24 on counts and earlier ones missed."""

_PER_GRAPH = 0.01
"""GiB for one captured size of a model of 32 layers (0.3-1.0 GiB for 51 sizes, 0.1 for 11)."""


_FIRST_GRAPH = 0.2
"""GiB more for experts and recurrent layers, whose kernels set up their buffers in the first capture."""


def context(gpu: Gpu) -> Bytes:
    """CUDA's own context: it exists before the engine's first snapshot and so lies outside its budget."""
    return gpu.context


def outside_torch(serving: Serving, gpu: Gpu, generation: Generation) -> Bytes:
    """What the profile run sees grow outside torch: kernels, cuBLAS, and NCCL where it starts after the snapshot."""
    gib = _ALONE
    if generation >= Generation.V1_CONSUMED:
        gib += _RUNNER_BUFFERS
    elif serving.version >= _GRAPHS_PROFILED and not serving.enforce_eager:
        gib += _GRAPH_RESIDUE
    ranks = serving.tensor_parallel * serving.pipeline_parallel
    if serving.version < _NCCL_FIRST:
        return Bytes.from_gib(gib) + communication(serving, gpu, generation)
    if ranks > 1 and gpu.nvswitch and gpu.compute_capability >= (9, 0) and generation < Generation.V1_CONSUMED:
        gib += _NVLINK
    return Bytes.from_gib(gib)


def communication(serving: Serving, gpu: Gpu, generation: Generation) -> Bytes:
    """NCCL and all-reduce buffers of a rank; from 0.11.1 on they exist before the snapshot (#25359)."""
    ranks = serving.tensor_parallel * serving.pipeline_parallel
    if ranks == 1:
        return Bytes(0)
    if not gpu.nvswitch:
        return Bytes.from_gib(_PCIE)
    if generation <= Generation.V0:
        return Bytes.from_gib(_OLD_NCCL)
    if nccl_first(serving):
        return Bytes.from_gib(_FIRST)
    return Bytes.from_gib(_EIGHT if ranks >= 8 else _NVLINK)


def nccl_first(serving: Serving) -> bool:
    """Whether communication is set up before the engine looks at the card's memory."""
    return serving.engine != "vllm" or serving.version >= _NCCL_FIRST


def graph_sizes(serving: Serving, batch: Batch, gpu: Gpu) -> int:
    """How many batch sizes are captured: 1, 2, 4, every 8 to 256, every 16 to the largest.

    The largest is min(2 x max_num_seqs, 512) (1024 on compute capability 10), at most the batch's tokens
    (vllm/config/vllm.py, _set_cudagraph_sizes).
    """
    limit = 1024 if gpu.compute_capability[0] == 10 else 512
    largest = min(2 * batch.sequences * (1 + serving.speculative_tokens), limit, batch.tokens)
    return min(largest, 3) + max(0, min(largest, 256) // 8) + max(0, (largest - 256) // 16)


def graphs(shape: ModelShape, serving: Serving, batch: Batch, gpu: Gpu) -> Bytes:
    """Captured CUDA graphs; nothing when the engine runs eagerly. Sizes share one pool, so each adds little."""
    if serving.enforce_eager:
        return Bytes(0)
    layers = shape.layers / serving.pipeline_parallel
    first = _FIRST_GRAPH if shape.experts or shape.recurrent else 0
    return Bytes.from_gib(first + _PER_GRAPH * graph_sizes(serving, batch, gpu) * layers / 32)


def adapters(shape: ModelShape, serving: Serving) -> Bytes:
    """LoRA: two thin matrices beside each linear layer for every slot, of the engine's rank limit, in 16 bits.

    The first is whole on each rank, the second divided (vllm/lora/layers).
    """
    lora = serving.lora
    if lora is None:
        return Bytes(0)
    tensor = serving.tensor_parallel
    width = 0.0
    for part in shape.attention:
        query, key = part.heads * part.head_dim, part.kv_heads * part.head_dim
        width += part.count * (4 * shape.hidden + (2 * query + 2 * key) / tensor)
    width += shape.dense_layers * (3 * shape.hidden + 3 * shape.intermediate / tensor)
    if shape.experts:
        width += (
            shape.experts.layers * shape.experts.count * (3 * shape.hidden + 3 * shape.experts.intermediate / tensor)
        )
    return Bytes(min(round(lora.adapters * lora.rank * width * 2), parameters(shape).total * 2))
