"""The ways in which a running engine is replaced, on a card whose memory engines share; and a death at each step."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from berth.gateway.endpoints import EndpointState, read_endpoints, state
from berth.provider.command import Command, Result
from berth.provider.connection import OnLine
from berth.provider.errors import BadInput, StartFailed
from berth.provider.host import Host
from berth.provider.replica import ReplicaWant
from tests.ports import free_ports
from tests.provider.operations.site import REPLICA, Site, configured

CARD_MIB, ENGINE_MIB = 1000, 450


@pytest.fixture
def engine(supervised: Site, tmp_path: Path) -> Callable[..., ReplicaWant]:
    """An engine in the gateway's endpoints, on a card that has room for two of it unless `mib` says otherwise."""
    port, spare = free_ports(2)

    def made(way: str = "surge", mib: int = ENGINE_MIB, version: int = 1, **settings: Any) -> ReplicaWant:
        card = {"card": str(tmp_path / "card"), "card_mib": CARD_MIB, "memory_mib": mib}
        return supervised.replica(
            "one",
            port=port,
            spare_port=spare,
            on_change=way,
            why="by these figures",
            prompts=["Hello"],
            hold_limit_s=60,
            arguments={"max_model_len": version},
            variables=configured(start_s=0.2, **card, **settings),
            cluster="one@main",
            endpoints=f"{supervised.root}/gateway/eds/one.json",
        )

    return made


def peak(want: ReplicaWant) -> int:
    """The most that was ever taken of its card, in MiB."""
    return int(Path(want.variables["STANDIN_CARD"], "peak").read_text())


async def serving(site: Site, want: ReplicaWant) -> None:
    """It runs as declared, alone, and is the only one that requests go to."""
    assert await REPLICA.observe(site.host, want) == want
    file = json.loads(await site.sh('cat -- "$1"', want.endpoints))
    assert state(file) is EndpointState.SERVING
    assert read_endpoints(file)[0] == (("127.0.0.1", want.port),)
    assert await site.sh('ls "$1/services" "$1/supervisor/conf.d"', site.root) == (
        f"{site.root}/services:\none\n\n{site.root}/supervisor/conf.d:\none.conf"
    )


async def test_a_surge_starts_the_new_engine_beside_the_old_one(supervised: Site, engine: Any) -> None:
    await REPLICA.converge(supervised.host, engine(), engine())
    before = await supervised.pid(engine())
    assert peak(engine()) == ENGINE_MIB
    said = await REPLICA.announced(supervised.host, engine(version=2))
    assert said == ("one: surge (by these figures): the new engine answers before the old one stops; no request waits",)
    await REPLICA.converge(supervised.host, engine(version=2), engine(version=2))
    await serving(supervised, engine(version=2))
    assert await supervised.pid(engine()) != before
    assert peak(engine()) == 2 * ENGINE_MIB


async def test_a_hold_never_needs_more_than_one_engines_memory(supervised: Site, engine: Any) -> None:
    one, two = engine("hold", 900), engine("hold", 900, version=2)
    await REPLICA.converge(supervised.host, one, one)
    (said,) = await REPLICA.announced(supervised.host, two)
    assert said.startswith("one: hold (by these figures): requests wait at the gateway, 60 s at most, while the old")
    await REPLICA.converge(supervised.host, two, two)
    await serving(supervised, two)
    assert peak(one) == 900


async def test_what_is_no_change_of_the_engine_announces_nothing(supervised: Site, engine: Any) -> None:
    await REPLICA.converge(supervised.host, engine(), engine())
    assert await REPLICA.announced(supervised.host, engine("hold")) == ()
    pid = await supervised.pid(engine())
    assert await REPLICA.converge(supervised.host, engine("hold"), engine("hold")) == engine("hold")
    assert await supervised.pid(engine()) == pid


async def test_one_that_serves_and_has_no_time_to_answer_is_left_alone_by_a_repair(
    supervised: Site, engine: Any
) -> None:
    want = engine().model_copy(update={"answer_timeout_s": 1})
    await REPLICA.converge(supervised.host, want, want)
    pid = await supervised.pid(want)
    await supervised.sh(
        'echo "# by hand" >> "$1"; touch "$2"', f"{want.folder}/runner.sh", f"{want.environment}/frozen"
    )
    await REPLICA.converge(supervised.host, want, want)
    assert await supervised.pid(want) == pid
    await serving(supervised, want)


@pytest.mark.soak  # tests/e2e/test_replacement.py has one of each way
@pytest.mark.parametrize("way", ["surge", "hold"])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"broken": 1}, "failed its smoke test: POST /v1/completions answered 500"),
        ({"fail": "RuntimeError: no"}, "did not start"),
        ({"mib": CARD_MIB + 1}, "the card ran out of memory"),
    ],
    ids=["broken", "dies", "too large"],
)
async def test_when_the_new_engine_does_not_answer_the_old_one_serves(
    supervised: Site, engine: Any, way: str, wrong: dict[str, Any], said: str
) -> None:
    want = engine(way)
    await REPLICA.converge(supervised.host, want, want)
    before = await supervised.pid(want)
    spoilt = engine(way, version=2, **wrong)
    with pytest.raises(StartFailed, match=said):
        await REPLICA.converge(supervised.host, spoilt, spoilt)
    await serving(supervised, want)
    assert (await supervised.pid(want) == before) == (way == "surge")


async def test_a_gap_that_the_stack_forbids_is_refused_before_anything_is_changed(
    supervised: Site, engine: Any
) -> None:
    await REPLICA.converge(supervised.host, engine("refuse"), engine("refuse"))
    await REPLICA.preflight(supervised.host, engine("refuse"))
    with pytest.raises(BadInput, match=r"models\.one\.on_change: is refuse, and one cannot .* \(by these figures\)"):
        await REPLICA.converge(supervised.host, engine("refuse", version=2), engine("refuse", version=2))
    await serving(supervised, engine("refuse"))


SURGE = (
    *(
        "putting the secrets of one-spare aside",
        "writing services/one-spare/runner.sh",
        "writing services/one-spare/run",
    ),
    *("writing supervisor/conf.d/one-spare.conf", "making room for the log of one-spare"),
    *("making supervisord read one-spare", "starting one-spare", "keeping that one-spare has served"),
    *("telling the gateway about one@main", "telling the gateway about one@main", "one: waiting for running requests"),
    *("putting the secrets of one aside", "stopping one", "writing services/one/runner.sh", "writing services/one/run"),
    *("writing supervisor/conf.d/one.conf", "making room for the log of one", "making supervisord read one"),
    *(
        "starting one",
        "keeping that one has served",
        "telling the gateway about one@main",
        "telling the gateway about one@main",
    ),
    *("one-spare: waiting for running requests", "stopping one-spare", "removing one-spare from supervisord"),
    *("making supervisord forget one-spare", "removing one-spare"),
)
HOLD = (
    *("telling the gateway about one@main", "one: waiting for running requests", "putting the secrets of one aside"),
    *("stopping one", "writing services/one/runner.sh", "writing services/one/run"),
    *("writing supervisor/conf.d/one.conf", "making room for the log of one", "making supervisord read one"),
    *(
        "starting one",
        "keeping that one has served",
        "telling the gateway about one@main",
        "telling the gateway about one@main",
    ),
)
WAYS = {"surge": SURGE, "hold": HOLD}
"""What a replacement runs, but for what only looks: how often that happens is a matter of time."""

SOME = {("surge", 2 * SURGE.index("starting one") + 1, False)}
"""The deaths of each run; three more, of the whole of `berth up`, are in tests/e2e/test_replacement.py."""
EACH = [
    pytest.param(way, moment, back, marks=() if (way, moment, back) in SOME else pytest.mark.soak)
    for way, commands in WAYS.items()
    for moment in range(2 * len(commands))
    if moment % 2 == 0 or "starting" in commands[moment // 2]
    for back in (False, True)
]
"""Before each command, and right after those that start an engine, which has not loaded yet then."""


class Death(BaseException):
    """The provider's process is gone: nothing of it runs on, no handler of a failure either."""


class Mortal:
    """A connection that keeps what is run, but for what only looks, of a provider that dies at the moment `last`."""

    def __init__(self, host: Host, last: int | None = None) -> None:
        self._connection, self._root, self._last = host.connection, f"{host.workspace}/", last
        self.ran: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def run(self, command: Command, on_line: OnLine | None = None) -> Result:
        if command.says.startswith("looking at "):
            return await self._connection.run(command, on_line)
        if self._last == 2 * len(self.ran):
            raise Death
        self.ran.append(command.says.replace(self._root, ""))
        result = await self._connection.run(command, on_line)
        if self._last == 2 * len(self.ran) - 1:
            raise Death
        return result


def through(host: Host, mortal: Mortal) -> Host:
    return replace(host, connection=mortal)


@pytest.fixture
async def changed(supervised: Site, engine: Any) -> tuple[ReplicaWant, ReplicaWant]:
    """An engine that serves, and what is to become of it; the way is for the test to choose."""
    want = engine()
    await REPLICA.converge(supervised.host, want, want)
    return want, engine(version=2)


async def test_deaths_come_at_each_command_of_either_way(supervised: Site, engine: Any) -> None:
    await REPLICA.converge(supervised.host, engine(), engine())
    for version, (way, commands) in enumerate(WAYS.items(), start=2):
        mortal = Mortal(supervised.host)
        want = engine(way, version=version)
        await REPLICA.converge(through(supervised.host, mortal), want, want)
        assert tuple(mortal.ran) == commands


@pytest.mark.parametrize(("way", "moment", "back"), EACH)
async def test_an_update_that_died_is_finished_or_taken_back_by_the_next(
    supervised: Site, changed: tuple[ReplicaWant, ReplicaWant], way: str, moment: int, back: bool
) -> None:
    """`back` asks for the old engine again."""
    old, new = (want.model_copy(update={"on_change": way}) for want in changed)
    with pytest.raises(Death):
        await REPLICA.converge(through(supervised.host, Mortal(supervised.host, moment)), new, new)
    if way == "surge":  # whoever died, somebody serves
        file = json.loads(await supervised.sh('cat -- "$1"', old.endpoints))
        assert read_endpoints(file)[0]
    want = old if back else new
    await REPLICA.converge(supervised.host, want, want)
    await serving(supervised, want)
    assert peak(want) <= CARD_MIB
