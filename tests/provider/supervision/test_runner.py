"""The script that starts every service: one at a time on a card, nothing twice, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.ports import free_port
from tests.provider.supervision.hand import ByHand, arguments, overlap, parent, processes, session, until

Make = Callable[..., ByHand]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[ByHand] = []

    def one(name: str = "one", **more: Any) -> ByHand:
        made.append(ByHand(tmp_path, name, free_port(), **more))
        return made[-1]

    yield one
    for service in made:
        service.end()


@pytest.fixture
def card(tmp_path: Path) -> Path:
    return tmp_path / "card0.lock"


def answers(service: ByHand) -> bool:
    session = requests.Session()
    session.trust_env = False
    with session:
        return session.get(f"http://127.0.0.1:{service.port}/health", timeout=5).ok


def core(service: ByHand) -> int:
    return next(pid for pid in processes() if parent(pid) == service.process)


def slow(service: ByHand, start_s: float = 1.0) -> None:
    service.write(environment={"STANDIN_START_S": str(start_s)})


# Order on a card


def test_two_started_at_the_same_time_profile_one_after_the_other(make: Make, card: Path) -> None:
    one, two = make("one", locks=[card]), make("two", locks=[card])
    for service in (one, two):
        slow(service)
        service.start()
    until(lambda: one.ready and two.ready)
    assert len(one.profiled()) == len(two.profiled()) == 1
    assert not overlap(one, two)


def test_two_that_crash_together_profile_one_after_the_other_again(make: Make, card: Path) -> None:
    one, two = make("one", locks=[card]), make("two", locks=[card])
    for _ in range(2):
        runners = [one.start(), two.start()]
        until(lambda: one.ready and two.ready)
        for service in (one, two):
            os.kill(service.process, signal.SIGKILL)
        for runner in runners:
            runner.wait()
    assert len(one.profiled()) == len(two.profiled()) == 2
    assert not overlap(one, two)


def test_one_that_has_its_turn_gives_it_up_when_it_fails(make: Make, card: Path) -> None:
    one, two = make("one", locks=[card]), make("two", locks=[card])
    one.write(environment={"STANDIN_FAIL": "RuntimeError: no", "STANDIN_START_S": "0.6"})
    failing = one.start()
    until(lambda: one.process)
    two.start()
    assert failing.wait() == 1
    until(lambda: two.ready)
    assert not overlap(one, two)
    assert "giving up its turn: ended before it was ready" in one.text()


def test_one_that_does_not_become_ready_gives_its_turn_up_after_its_limit(make: Make, card: Path) -> None:
    one, two = make("one", locks=[card], ready_limit_s=1), make("two", locks=[card])
    one.write(environment={"STANDIN_FAIL": "RuntimeError: no", "STANDIN_LINGER": "1"})
    one.start()
    until(lambda: one.process)
    two.start()
    until(lambda: two.ready)
    assert "giving up its turn: not ready within 1 s" in one.text()
    assert not one.ready


def test_eight_cards_are_locked_together_and_in_any_mix(make: Make, tmp_path: Path) -> None:
    cards = [tmp_path / f"card{number}.lock" for number in range(8)]
    whole, half, single = make("whole", locks=cards), make("half", locks=cards[4:]), make("single", locks=cards[7:])
    for service in (whole, half, single):
        service.start()
    until(lambda: whole.ready and half.ready and single.ready)
    assert not overlap(whole, half, single)


def test_cards_named_in_another_order_do_not_block_each_other(make: Make, tmp_path: Path) -> None:
    cards = [tmp_path / "a", tmp_path / "b"]
    one, two = make("one", locks=cards), make("two", locks=cards[::-1])
    for card in cards:
        card.mkdir()
    held = [subprocess.Popen(["flock", "-o", str(card), "sleep", "1000"]) for card in cards]
    try:
        for service in (one, two):
            service.start()
        until(lambda: all("waiting for its turn" in service.text() for service in (one, two)))
        time.sleep(0.3)  # both are at their first lock now
    finally:
        for holder in held:
            os.kill(int(Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text()), signal.SIGKILL)
            holder.wait()
    until(lambda: one.ready and two.ready)
    assert not overlap(one, two)


def test_cards_of_others_are_not_waited_for(make: Make, tmp_path: Path) -> None:
    one, two = make("one", locks=[tmp_path / "a"]), make("two", locks=[tmp_path / "b"])
    for service in (one, two):
        slow(service, 2.0)
        service.start()
    until(lambda: one.ready and two.ready)
    assert overlap(one, two)


# What runs is one tree


@pytest.mark.parametrize("victim", ["main", "core"])
def test_killing_a_part_ends_the_whole_tree_and_the_next_start_has_the_same_port(make: Make, victim: str) -> None:
    one = make()
    runner = one.start()
    until(lambda: one.ready)
    tree = one.tree()
    assert len(tree) == 3  # runner, server, core
    os.kill(one.process if victim == "main" else core(one), signal.SIGKILL)
    runner.wait()
    assert one.tree() == set()
    assert runner.returncode != 0
    one.start()
    until(lambda: one.ready)
    assert answers(one)
    assert len(one.tree()) == 3
    assert one.tree().isdisjoint(tree)


def test_a_ready_engine_whose_runner_is_killed_is_adopted(make: Make, card: Path) -> None:
    one = make(locks=[card])
    first = one.start()
    until(lambda: one.ready)
    main = one.process
    first.kill()
    first.wait()
    assert answers(one)
    second = one.start()
    until(lambda: "adopting process" in one.text())
    until(lambda: one.ready)
    assert one.process == main
    assert len(one.profiled()) == 1
    assert len(one.tree()) == 3
    os.kill(main, signal.SIGKILL)
    second.wait()
    assert one.tree() == set()


def test_an_engine_killed_in_its_start_with_its_runner_starts_again_in_order(make: Make, card: Path) -> None:
    """Nobody holds the card for it any more, so that it cannot be left to go on profiling."""
    one, two = make("one", locks=[card]), make("two", locks=[card])
    slow(one, 4.0)
    first = one.start()
    until(lambda: one.process)
    first.kill()
    first.wait()
    one.start()
    until(lambda: "stopping what is left" in one.text())
    until(lambda: len(one.tree()) == 3)
    two.start()
    until(lambda: one.ready and two.ready)
    assert not overlap(one, two)
    assert len(one.tree()) == 3


def test_an_older_definition_is_stopped_before_the_new_one_starts(make: Make) -> None:
    one = make()
    first = one.start()
    until(lambda: one.ready)
    old = one.tree() - {first.pid}
    first.kill()
    first.wait()
    one.write(environment={"STANDIN_START_S": "0.1"})
    one.start()
    until(lambda: one.ready and one.process not in old)
    assert "stopping what is left of session" in one.text()
    assert not old & set(processes())
    assert answers(one)


def test_a_second_start_of_what_runs_does_nothing(make: Make) -> None:
    one = make()
    one.start()
    until(lambda: one.ready)
    tree = one.tree()
    second = one.start()
    assert second.wait() == 1
    assert "this start does nothing" in one.text()
    assert one.tree() == tree
    assert one.ready


def test_a_second_start_of_what_waits_for_its_turn_does_nothing(make: Make, card: Path) -> None:
    one, two = make("one", locks=[card]), make("two", locks=[card])
    slow(one, 2.0)
    one.start()
    until(lambda: one.process)
    first = two.start()
    until(lambda: "waiting for its turn" in two.text())
    assert two.start().wait() == 1
    until(lambda: two.ready)
    assert len(two.profiled()) == 1
    assert first.poll() is None


def test_who_waits_for_a_turn_under_a_dead_supervisor_is_replaced(make: Make, card: Path) -> None:
    """As when supervisord is killed while an engine waits: its runner must not start it beside the next one."""
    one, two = make("one", locks=[card]), make("two", locks=[card])
    slow(one, 2.0)
    one.start()
    until(lambda: one.process)
    supervisor = subprocess.Popen(["sh", "-c", f"sh {two.service.run_path} > {two.log} 2>&1; :"])
    until(lambda: "waiting for its turn" in two.text())
    supervisor.kill()
    supervisor.wait()
    two.start()
    until(lambda: two.ready)
    assert len(two.profiled()) == 1
    assert len(two.tree()) == 3
    assert not overlap(one, two)


def test_a_runner_killed_while_it_waits_never_keeps_the_lock(make: Make, card: Path) -> None:
    one, two, three = make("one", locks=[card]), make("two", locks=[card]), make("three", locks=[card])
    slow(one)
    one.start()
    until(lambda: one.process)
    waiting = two.start()
    until(lambda: "waiting for its turn" in two.text())
    waiting.kill()
    waiting.wait()
    three.start()
    until(lambda: three.ready)
    until(lambda: not two.tree())
    assert two.profiled() == []


# Stopping


@pytest.mark.parametrize("when", ["waiting", "starting", "ready"])
def test_term_leaves_nothing_whenever_it_comes(make: Make, card: Path, when: str) -> None:
    one, two = make("one", locks=[card]), make("two", locks=[card])
    slow(one, 0.2 if when == "ready" else 8.0)
    runner = one.start()
    stopped = one
    until(lambda: one.process)
    if when == "waiting":
        runner = two.start()
        stopped = two
        until(lambda: "waiting for its turn" in two.text())
    if when == "ready":
        until(lambda: one.ready)
    began = time.monotonic()
    runner.terminate()
    assert runner.wait(timeout=10) == 0
    assert time.monotonic() - began < 4
    until(lambda: not stopped.tree())
    assert sorted(path.name for path in Path(stopped.service.folder, "state").iterdir()) == []


def test_what_does_not_end_politely_is_killed_after_its_time(make: Make) -> None:
    one = make(stop_timeout_s=1)
    one.write(environment={"STANDIN_IGNORE_TERM": "1"})
    runner = one.start()
    until(lambda: one.ready)
    runner.terminate()
    assert runner.wait(timeout=10) == 0
    assert one.tree() == set()


def test_its_own_end_is_counted_and_its_status_given_on(make: Make) -> None:
    one = make()
    one.write(argv=("sh", "-c", "exit 7"), ready=())
    assert one.start().wait() == 7
    assert one.start().wait() == 7
    exits = Path(one.service.folder, "state/exits").read_text().splitlines()
    assert [line.split()[1] for line in exits] == ["7", "7"]


def test_a_log_that_grows_too_large_is_put_aside_while_it_is_written(make: Make) -> None:
    one = make()
    Path(f"{one.log}.1").write_text("older\n")
    one.start()
    until(lambda: one.ready)
    os.truncate(one.log, 60_000_000)
    until(lambda: one.log.stat().st_size < 60_000_000)
    assert Path(f"{one.log}.2").read_text() == "older\n"
    assert Path(f"{one.log}.1").stat().st_size == 60_000_000
    body = {"model": "one", "prompt": "x", "max_tokens": 1}
    with requests.Session() as session:
        session.trust_env = False
        session.post(f"http://127.0.0.1:{one.port}/v1/completions", json=body, timeout=5)
    until(lambda: "POST /v1/completions" in one.text())
    assert one.log.stat().st_size < 1000


# Ids of processes come again


def test_a_process_id_that_another_process_has_now_is_not_killed(make: Make) -> None:
    one = make()
    stranger = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        state = Path(one.service.folder, "state")
        state.mkdir()
        (state / "process").write_text(f"{stranger.pid} 1 {stranger.pid} 1 1 {boot} {'0' * 64}\n")
        one.start()
        until(lambda: one.ready)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_what_was_recorded_before_a_reboot_means_nothing(make: Make) -> None:
    one = make()
    stranger = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        started = Path(f"/proc/{stranger.pid}/stat").read_text().rpartition(")")[2].split()[19]
        state = Path(one.service.folder, "state")
        state.mkdir()
        (state / "process").write_text(f"{stranger.pid} {started} {stranger.pid} {started} 1 other-boot {'0' * 64}\n")
        one.start()
        until(lambda: one.ready)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_folders_with_blanks_and_quotes_are_nothing_special(tmp_path: Path) -> None:
    root = tmp_path / "a b'c\"$(d)"
    root.mkdir()
    one = ByHand(root, "one", free_port(), environment={"GREETING": "it's\n$HOME"}, working_directory=str(root))
    try:
        one.start()
        until(lambda: one.ready, one.text())
        environment = Path(f"/proc/{one.process}/environ").read_text().split("\0")
        assert "GREETING=it's\n$HOME" in environment
        assert Path(f"/proc/{one.process}/cwd").resolve() == root.resolve()
        assert session(one.process) == one.process
        assert arguments(one.process).startswith(str(one.environment))
    finally:
        one.end()
