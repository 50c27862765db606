"""The catalogue of GPUs: found by every name, each number with an origin."""

import pytest

from berth.catalogue import gpus
from berth.catalogue.units import Bytes


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("rtx-5090", "rtx-5090"),
        ("NVIDIA GeForce RTX 5090", "rtx-5090"),
        ("A40", "a40"),
        ("NVIDIA A40", "a40"),
        ("Tesla T4", "t4"),
        ("h100", "h100-sxm"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "rtx-pro-6000-server"),
        ("RTX A6000", "rtx-a6000"),
    ],
)
def test_a_card_is_found_by_what_people_and_the_driver_call_it(name: str, wanted: str):
    assert gpus.find(name).id == wanted


def test_every_id_and_alias_leads_to_one_card():
    seen = {}
    for gpu in gpus.all_gpus():
        for name in (gpu.id, gpu.name, *gpu.aliases):
            assert gpus.find(name).id == seen.setdefault(gpus._plain(name), gpu.id)


def test_an_unknown_card_is_named_with_the_known_ones():
    with pytest.raises(gpus.UnknownGpu, match=r"'rtx-6090' is not in the catalogue.*rtx-5090"):
        gpus.find("rtx-6090")


def test_every_number_has_an_origin():
    for gpu in gpus.all_gpus():
        assert {"memory_mib", "cuda_gib", "compute_capability", "bandwidth_gb_s", "minimum_driver"} <= set(gpu.origins)
        assert all(gpu.origins.values())


def test_cards_of_one_generation_share_its_abilities():
    for gpu in gpus.all_gpus():
        assert gpu.bf16 == (gpu.compute_capability >= (8, 0))
        assert gpu.fp8 == (gpu.compute_capability >= (8, 9))
        assert gpu.fp4 == (gpu.compute_capability >= (10, 0))
        assert (gpu.open_modules == "unsupported") == (gpu.compute_capability < (7, 5))
        assert (gpu.last_branch == 580) == (gpu.compute_capability < (7, 5))


def test_cuda_sees_a_little_less_than_the_driver():
    for gpu in gpus.all_gpus():
        assert 0.96 <= gpu.cuda_total / gpu.memory <= 1.0


def test_totals_are_compared_with_tolerance():
    a40 = gpus.find("a40").memory
    assert gpus.same_size(a40, Bytes.from_mib(45634))
    assert not gpus.same_size(a40, gpus.find("rtx-a6000").memory)


def test_blackwell_needs_open_modules_and_570():
    card = gpus.find("rtx-5090")
    assert (card.open_modules, card.minimum_driver.major, card.compute_capability) == ("required", 570, (12, 0))
    assert (card.memory.gib, card.cuda_total.gib) == (pytest.approx(31.843, abs=0.001), pytest.approx(31.36, abs=0.001))
