"""All engines, by the name that a stack file gives them."""

from __future__ import annotations

from collections.abc import Mapping

from berth.engines.contract import Engine
from berth.engines.sglang import SGLANG
from berth.engines.tgi import TGI
from berth.engines.vllm import VLLM

ENGINES: Mapping[str, Engine] = {engine.name: engine for engine in (VLLM, SGLANG, TGI)}
