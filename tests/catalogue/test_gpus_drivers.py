"""Drivers, cards and CUDA: which go together, and what to do where they do not."""

from datetime import date

import pytest
from packaging.version import Version

from berth.catalogue import drivers, gpus


@pytest.mark.parametrize(
    ("driver", "card", "cuda", "words"),
    [
        ("575.64.05", "rtx-5090", "12.8", []),
        ("580.95.05", "rtx-5090", "13.0", []),
        ("535.247.01", "a40", "12.8", []),
        ("545.29.06", "rtx-5090", "12.8", ["does not know NVIDIA GeForce RTX 5090"]),
        ("570.124.06", "rtx-5090", "13.0", ["cannot run CUDA 13.0", "580.65.06"]),
        ("595.45.04", "v100-32gb", "12.4", ["has dropped", "branch 580"]),
        ("620.10", "v100-32gb", None, ["has dropped", "open kernel modules only"]),
    ],
)
def test_driver_card_and_image(driver: str, card: str, cuda: str | None, words: list[str]):
    found = drivers.problems(Version(driver), gpus.find(card), Version(cuda) if cuda else None)
    text = " ".join(found)
    assert bool(found) == bool(words)
    assert all(word in text for word in words)


def test_native_cuda_is_the_branch_or_the_one_before():
    assert drivers.native_cuda(Version("575.64.05")) == Version("12.9")
    assert drivers.native_cuda(Version("585.1")) == Version("13.0")
    assert drivers.native_cuda(Version("470.1")) is None


def test_branches_end():
    assert drivers.branch_of(Version("580.95.05")).end == date(2028, 6, 30)
    assert drivers.branch_of(Version("535.1")).end < date(2026, 7, 1)
    assert drivers.branch_of(Version("999.1")).kind == "unknown"


def test_a_cuda_release_of_the_future_is_not_guessed():
    with pytest.raises(LookupError, match=r"CUDA 14\.0 is not in the catalogue"):
        drivers.minimum_for_cuda(Version("14.0"))
