"""Facts kept as files: the newest counts, a broken file is said, and nobody else may read a look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from berth.facts.store import Store, age
from tests.facts.fixtures import recorded

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOST = recorded("laptop")


@pytest.mark.parametrize(("looked", "recorded_at", "newest"), [(1, 2, 1), (2, 1, 1), (3, None, 3), (None, 4, 4)])
def test_the_newer_of_a_look_and_a_recording_counts(
    tmp_path: Path, looked: int | None, recorded_at: int | None, newest: int
) -> None:
    store = Store(tmp_path, "prod")
    for days, path in ((looked, store.looked("box")), (recorded_at, store.recorded("box"))):
        if days is not None:
            path.parent.mkdir(parents=True)
            path.write_text(HOST.model_copy(update={"gathered": NOW - timedelta(days=days)}).model_dump_json())
    facts = store.last_known("box")
    assert facts is not None
    assert NOW - facts.gathered == timedelta(days=newest)


def test_a_kept_look_is_read_back_and_nobody_elses(tmp_path: Path) -> None:
    store = Store(tmp_path, "prod")
    store.keep("box", HOST)
    assert store.last_known("box") == HOST
    assert store.looked("box").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / ".berth").stat().st_mode & 0o777 == 0o700
    assert [path.name for path in store.looked("box").parent.iterdir()] == ["box.json"]
    store.recorded("box").parent.mkdir(parents=True)
    store.recorded("box").write_text(HOST.model_dump_json())
    assert Store(tmp_path, "other").last_known("box") is None
    store.recorded("box").unlink()
    store.forget("box")
    assert store.last_known("box") is None
    store.forget("box")


def test_a_broken_file_is_said_and_the_other_one_counts(tmp_path: Path) -> None:
    store, problems = Store(tmp_path, "prod"), list[str]()
    store.keep("box", HOST)
    store.recorded("box").parent.mkdir(parents=True)
    store.recorded("box").write_text('{"os": ')
    assert store.last_known("box", problems) == HOST
    assert problems == ["stacks/facts/prod/box.json: is not the facts of a host; delete it, or record the host again"]


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / ".berth").write_text("a file")
    Store(tmp_path, "prod").keep("box", HOST)


@pytest.mark.parametrize(
    ("passed", "said"),
    [
        (timedelta(days=3, hours=5), "3 days"),
        (timedelta(days=1), "1 day"),
        (timedelta(hours=2), "2 hours"),
        (timedelta(minutes=1), "1 minute"),
        (timedelta(seconds=59), "a moment"),
        (timedelta(seconds=-5), "a moment"),
    ],
)
def test_how_old(passed: timedelta, said: str) -> None:
    assert age(HOST.model_copy(update={"gathered": NOW - passed}), NOW) == said
