"""The peak of the profile run: the forward pass, the sampler, the vision tower, whichever is largest."""

from __future__ import annotations

from packaging.version import Version

from berth.catalogue.gpus import Gpu
from berth.catalogue.models import ModelShape
from berth.catalogue.units import Bytes
from berth.planner.memory.serving import Batch, Generation, Serving, generation_of
from berth.planner.memory.weights import quantization_of

__all__ = ["activations", "encoder", "forward", "sampler"]

_SORTED = 38.3
"""Bytes a logit costs while PyTorch sorts rows for top-k and top-p: logits in 16 and 32 bits, sorted values and 64-bit
indices, the sort's own double buffers, probabilities, their sums and masks (v1/sample/ops/topk_topp_sampler.py)."""

_UNSORTED = 15.5
"""The same without a sort (FlashInfer, or the Triton kernel of 0.17): logits in 16 and 32 bits, probabilities, noise."""

_TRITON_SAMPLER = Version("0.17.0")
_FLASHINFER_OFF = Version("0.11.1")
_SAMPLER_PROFILED = Version("0.8.3")
_HIDDEN_COPIES = 4
"""Residual, input, attention output and the next layer's input are alive at the peak of a layer; one more for the
all-reduce of tensor parallelism."""


def activations(shape: ModelShape, serving: Serving, batch: Batch, gpu: Gpu) -> Bytes:
    """What the profile run reaches above the weights."""
    hidden = batch.tokens * shape.hidden * 2
    text = max(forward(shape, serving, batch), sampler(shape, serving, batch, gpu) + hidden)
    seen, kept = encoder(shape, serving, batch)
    return Bytes(max(seen, text + kept))


def forward(shape: ModelShape, serving: Serving, batch: Batch) -> Bytes:
    """One layer's peak for a full batch: copies of the hidden state and the widest feed-forward part.

    A gated part holds its two projections and their product; experts hold both for every token they are sent to
    (fused_moe.py, intermediate_cache1 to 3, in chunks of 32768 tokens).
    """
    tensor = serving.tensor_parallel
    copies = _HIDDEN_COPIES + (1 if tensor > 1 else 0)
    inner = shape.mlp_matrices * shape.intermediate / tensor if shape.dense_layers else 0
    tokens = batch.tokens
    routed = 0.0
    if shape.experts:
        width = shape.experts.intermediate / tensor
        routed = shape.experts.active * (max(2 * width, shape.hidden) + width) + 3 * shape.experts.shared / tensor
        if quantization_of(shape, serving) and shape.experts.biased:
            routed = shape.experts.active * (2 * width + shape.hidden)
    mixer = max((part.conv_dim * 2.5 / tensor for part in shape.recurrent), default=0)
    attention = max((3 * part.heads * part.head_dim / tensor for part in shape.attention), default=0)
    widest = max(inner, min(1.0, 32768 / tokens) * routed, mixer, attention)
    return Bytes(2 * tokens * round(copies * shape.hidden + widest))


def sampler(shape: ModelShape, serving: Serving, batch: Batch, gpu: Gpu) -> Bytes:
    """The dummy sampling step: one row of logits for each sequence.

    Packages sorted by PyTorch until the Triton kernel of 0.17.0 (#33538); images sampled with FlashInfer until 0.11.0
    (#26859 turned it off by default in 0.11.1, #40376 on again in 0.21.0).
    """
    generation = generation_of(serving.version, gpu)
    rows = min(batch.sequences, batch.tokens)
    unsorted = serving.version >= _TRITON_SAMPLER and rows >= 8
    if serving.installation == "image" and generation > Generation.V0 and serving.version < _FLASHINFER_OFF:
        unsorted = True
    if generation is Generation.V1_DEVICE and serving.version < _SAMPLER_PROFILED:
        return Bytes(rows * shape.vocab * 6)
    return Bytes(round(rows * shape.vocab * (_UNSORTED if unsorted else _SORTED)))


def encoder(shape: ModelShape, serving: Serving, batch: Batch) -> tuple[Bytes, Bytes]:
    """The vision tower on as many of its largest images as one step may take: its peak, and its outputs that stay.

    Source: profile_run of v1/worker/gpu_model_runner.py with the budget of v1/core/encoder_cache_manager.py.
    """
    vision = shape.vision
    if vision is None or serving.images_per_prompt == 0:
        return Bytes(0), Bytes(0)
    patches = min(vision.patches, serving.context * vision.merge)
    tokens = max(1, patches // vision.merge)
    images = max(1, batch.tokens // tokens)
    if serving.images_per_prompt is not None:
        images = min(images, serving.images_per_prompt * batch.sequences)
    width = 8 * vision.hidden + 3 * vision.intermediate
    kept = images * tokens * shape.hidden * 2
    return Bytes(2 * images * patches * width + kept), Bytes(kept)
