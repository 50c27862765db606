"""Machines with nothing to do, checked by us and by ansible-core: two here, any number in benchmarks/prerequisites."""

from __future__ import annotations

import pytest

from benchmarks.prerequisites.against_ansible import FIRST, NOTHING, main
from tests.machines.fixtures import or_skip

pytestmark = [pytest.mark.pulumi, pytest.mark.systemd, pytest.mark.timeout(1200)]

TIMES_AS_FAST = 6


def test_a_check_is_several_times_as_fast_as_ansibles_and_the_first_application_no_slower() -> None:
    with or_skip("machine with package repositories"):
        ratios = main(2, breakages=False, rounds=2)
    assert ratios[NOTHING] >= TIMES_AS_FAST
    if ratios[FIRST] < 1:  # applied once by each, one after the other: a slow spell may have met ours alone
        ratios = main(1, breakages=False, rounds=1)
    assert ratios[FIRST] >= 1
