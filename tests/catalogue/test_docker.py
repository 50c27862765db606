"""What is known of Docker by its versions, and what is asked of its daemon."""

from __future__ import annotations

import pytest

from berth.catalogue.docker import NVIDIA_RUNTIME, RELOADABLE, at_least, daemon_settings, numbers


@pytest.mark.parametrize(
    ("version", "parts"),
    [
        ("29.3.0", (29, 3, 0)),
        ("5:29.3.0-1~debian.13~trixie", (29, 3, 0)),
        ("26.1.5+dfsg1", (26, 1, 5)),
        ("v1.20.1", (1, 20, 1)),
        ("1.18.0~rc.1-1", (1, 18, 0)),
        ("library-import", ()),
        ("", ()),
    ],
)
def test_a_version_is_the_numbers_that_it_starts_with(version: str, parts: tuple[int, ...]) -> None:
    assert numbers(version) == parts


@pytest.mark.parametrize(
    ("version", "minimum", "enough"),
    [
        ("28.3.0", "28.3", True),
        ("9.0", "25.0", False),
        ("1.9.0", "1.18.0", False),
        ("25.0", "25.0", True),
        ("unknown", "25.0", False),
    ],
)
def test_versions_are_compared_as_numbers(version: str, minimum: str, enough: bool) -> None:
    assert at_least(version, minimum) is enough


def test_a_host_without_cards_is_asked_for_nothing_of_nvidia() -> None:
    assert daemon_settings(gpu=False) == {}
    assert set(daemon_settings(gpu=True)) == {"features", "runtimes"}


@pytest.mark.parametrize("kept", [True, False])
def test_containers_outlive_the_daemon_only_where_the_stack_says_so(kept: bool) -> None:
    assert "live-restore" not in daemon_settings(gpu=True)
    assert daemon_settings(gpu=True, live_restore=kept)["live-restore"] is kept


def test_the_runtime_of_nvidia_needs_no_restart() -> None:
    assert set(NVIDIA_RUNTIME) <= RELOADABLE
