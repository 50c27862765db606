"""Weights from the total that a checkpoint's index states."""

from __future__ import annotations

import pytest

from berth.catalogue import gpus, models
from berth.catalogue.models import ModelShape
from berth.planner.memory import total_of_index, with_total
from berth.planner.memory.weights import weights
from tests.planner.memory.conftest import serving


@pytest.mark.parametrize(
    ("index", "wanted"),
    [
        ({"metadata": {"total_size": 16060522496}, "weight_map": {}}, 16060522496),
        ({"metadata": {}}, None),
        ({}, None),
        ({"metadata": {"total_size": "?"}}, None),
    ],
)
def test_the_total_of_an_index(index: dict[str, object], wanted: int | None) -> None:
    assert total_of_index(index) == wanted


def test_a_total_replaces_the_computed_weights(llama: ModelShape) -> None:
    card = gpus.find("a40")
    known = with_total(llama, 16060522496)
    assert known.stored is not None
    assert known.stored.total == 16060522496
    for ranks in (1, 2):
        exact, computed = (weights(shape, serving(tensor_parallel=ranks), card) for shape in (known, llama))
        assert exact == pytest.approx(computed, rel=0.002)


def test_a_quantized_total_keeps_the_embedding_in_16_bits() -> None:
    shape = models.find("Qwen/Qwen2.5-7B-Instruct-AWQ")
    known = with_total(shape, 5_570_000_000)
    assert known.stored is not None
    assert known.stored.embedding == 152064 * 3584 * 2
    assert weights(known, serving(), gpus.find("l4")).gib == pytest.approx(5.23, rel=0.01)


def test_a_total_of_another_model_is_not_believed(llama: ModelShape) -> None:
    assert with_total(llama, 10**9) is llama
