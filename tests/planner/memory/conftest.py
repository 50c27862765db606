"""Shapes and servings that several tests of the memory planner use."""

from __future__ import annotations

from typing import Any

import pytest
from packaging.version import Version

from berth.catalogue import models
from berth.catalogue.models import ModelShape
from berth.planner.memory import Serving


def serving(**given: Any) -> Serving:
    """A serving with vLLM 0.11.0 and 4096 tokens, unless said otherwise."""
    version = Version(str(given.pop("version", "0.11.0")))
    return Serving(version=version, **{"context": 4096, **given})


@pytest.fixture
def llama() -> ModelShape:
    return models.find("meta-llama/Llama-3.1-8B-Instruct")
