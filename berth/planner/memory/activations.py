"""The peak of the profile run: the forward pass, the sampler, the vision tower, whichever is largest."""

from __future__ import annotations

from packaging.version import Version

from berth.catalogue.gpus import Gpu
from berth.catalogue.models import ModelShape
from berth.catalogue.units import Bytes
from berth.planner.memory.serving import Batch, Generation, Serving, generation_of

__all__ = ["activations", "encoder", "forward", "routed", "sampler"]

_SORTED = 38.3
"""Bytes a logit costs while PyTorch sorts rows for top-k and top-p: logits in 16 and 32 bits, sorted values and 64-bit
indices, the sort's own double buffers, probabilities, their sums and masks (v1/sample/ops/topk_topp_sampler.py)."""

_UNSORTED = 15.5
"""The same without a sort (FlashInfer, Triton since 0.17): logits in 16 and 32 bits, probabilities, noise."""

_TRITON_SAMPLER = Version("0.17.0")
_FLASHINFER_ON, _FLASHINFER_OFF = Version("0.9.0"), Version("0.11.1")
"""Images before 0.9.0 hold a FlashInfer that the sampler finds too old (below 0.2.3)."""
_SAMPLER_PROFILED = Version("0.8.3")
_WORKSPACE = Version("0.13.0")
_RUNNER_V2 = Version("0.23.0")
_RUNNER_V2_DENSE = Version("0.25.0")
_IN_PLACE = 8
"""Bytes a logit costs in Model Runner V2: 16 and 32 bits and what the kernel adds."""

_TRITON_ROWS = 8
_MOE_CHUNK = 32768
_HIDDEN_COPIES = 4
"""Residual, input, attention output and the next layer's input are alive at the peak of a layer; one more for the
all-reduce of tensor parallelism."""


def activations(shape: ModelShape, serving: Serving, batch: Batch, gpu: Gpu) -> Bytes:
    """What the profile run reaches above the weights."""
    hidden = batch.tokens * shape.hidden * 2
    experts = routed(shape, serving, batch)
    staying = experts if serving.version >= _WORKSPACE and not _own_kernels(shape) else Bytes(0)
    text = max(forward(shape, serving, batch) + experts, sampler(shape, serving, batch, gpu) + staying + hidden)
    seen, kept = encoder(shape, serving, batch)
    return Bytes(max(seen, text + kept))


def forward(shape: ModelShape, serving: Serving, batch: Batch) -> Bytes:
    """One layer's peak for a full batch: copies of the hidden state and the widest part of a layer.

    A gated part holds its two projections and their product.
    """
    tensor = serving.tensor_parallel
    copies = _HIDDEN_COPIES + (1 if tensor > 1 else 0)
    inner = shape.mlp_matrices * shape.intermediate / tensor if shape.dense_layers else 0
    shared = 3 * shape.experts.shared / tensor if shape.experts else 0
    mixer = max((part.conv_dim * 2.5 / tensor for part in shape.recurrent), default=0)
    attention = max((3 * part.heads * part.head_dim / tensor for part in shape.attention), default=0)
    widest = max(inner, shared, mixer, attention)
    return Bytes(2 * batch.tokens * round(copies * shape.hidden + widest))


def routed(shape: ModelShape, serving: Serving, batch: Batch) -> Bytes:
    """What experts need for every token they are sent to.

    Two buffers (fused_moe.py: intermediate caches 1 and 3 share one, 2 is the other) in chunks of 32768 tokens. Since
    0.13 they belong to a workspace that stays allocated (v1/worker/workspace.py) and so add to the sampler's peak.
    gpt-oss on its own Triton kernels keeps one of them.
    """
    experts = shape.experts
    if experts is None:
        return Bytes(0)
    tokens = min(batch.tokens, _MOE_CHUNK)
    width = max(2 * experts.intermediate / serving.tensor_parallel, shape.hidden)
    second = width if not experts.biased else 0
    return Bytes(round(2 * tokens * experts.active * (width + second)))


def _own_kernels(shape: ModelShape) -> bool:
    """Whether experts run on kernels that take their buffers from torch and give them back (gpt-oss)."""
    return shape.experts is not None and shape.experts.biased


def sampler(shape: ModelShape, serving: Serving, batch: Batch, gpu: Gpu) -> Bytes:
    """The dummy sampling step: one row of logits for each sequence.

    Packages sorted by PyTorch until the Triton kernel of 0.17.0 (#33538); images of 0.9.0 to 0.11.0 used FlashInfer
    (#26859 turned it off by default in 0.11.1, #40376 on again in 0.21.0). Pipeline stages before the last do not
    sample, but the last one decides, since the smallest cache counts. Model Runner V2 samples in place.
    """
    generation = generation_of(serving.version, gpu)
    rows = min(batch.sequences, batch.tokens)
    if generation is Generation.V1_DEVICE and serving.version < _SAMPLER_PROFILED:
        return Bytes(rows * shape.vocab * 6)
    if _runner_v2(shape, serving):
        return Bytes(rows * shape.vocab * _IN_PLACE)
    if serving.version >= _TRITON_SAMPLER:  # few rows are still sorted
        return Bytes(round(shape.vocab * max(rows * _UNSORTED, min(rows, _TRITON_ROWS - 1) * _SORTED)))
    unsorted = False
    if serving.installation == "image" and generation > Generation.V0:
        unsorted = _FLASHINFER_ON <= serving.version < _FLASHINFER_OFF
    return Bytes(round(rows * shape.vocab * (_UNSORTED if unsorted else _SORTED)))


def _runner_v2(shape: ModelShape, serving: Serving) -> bool:
    """Model Runner V2: the default for Llama, Mistral and Qwen3 from 0.23, for all dense text models from 0.25."""
    if serving.version < _RUNNER_V2 or shape.experts or shape.recurrent or shape.vision or serving.speculative_tokens:
        return False
    first = {"LlamaForCausalLM", "MistralForCausalLM", "Qwen3ForCausalLM"}
    return serving.version >= _RUNNER_V2_DENSE or shape.architecture in first


def encoder(shape: ModelShape, serving: Serving, batch: Batch) -> tuple[Bytes, Bytes]:
    """The vision tower on as many of its largest items as one step may take: its peak, and its outputs that stay.

    Source: profile_run of v1/worker/gpu_model_runner.py with the budget of v1/core/encoder_cache_manager.py. At the
    peak, pixels, residual and rotary tables (five hidden states) and the wider of attention and feed-forward part
    live. The largest image is profiled even where it is longer than the context; a video has as many frames as fit.
    """
    vision = shape.vision
    if vision is None or serving.images_per_prompt == 0:
        return Bytes(0), Bytes(0)
    items = max(1, batch.tokens * vision.merge // vision.patches)
    if serving.images_per_prompt is not None:
        items = min(items, serving.images_per_prompt * batch.sequences)
    frames = min(vision.frames, serving.context * vision.merge // vision.patches)
    patches = max(items, frames) * vision.patches
    inside = max(8 * vision.hidden, vision.matrices * vision.intermediate) / serving.tensor_parallel
    kept = patches // vision.merge * shape.hidden * 2
    return Bytes(round(2 * patches * (5 * vision.hidden + inside)) + kept), Bytes(kept)
