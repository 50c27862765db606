"""Model shapes: read from a config.json, exact sizes from safetensors headers, and a catalogue of well-known models."""

from berth.catalogue.models.config import MissingNumbers, read_config
from berth.catalogue.models.known import UnknownModel, find, names
from berth.catalogue.models.safetensors import header_of, stored_weights
from berth.catalogue.models.shape import (
    Attention,
    Experts,
    Latent,
    ModelShape,
    Quantization,
    QuantizedParts,
    Recurrent,
    StoredWeights,
    Vision,
)

__all__ = [
    "Attention",
    "Experts",
    "Latent",
    "MissingNumbers",
    "ModelShape",
    "Quantization",
    "QuantizedParts",
    "Recurrent",
    "StoredWeights",
    "UnknownModel",
    "Vision",
    "find",
    "header_of",
    "names",
    "read_config",
    "stored_weights",
]
