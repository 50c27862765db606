"""What managers prepare on a host, on a real folder."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from berth.provider.host import Host
from berth.provider.supervision.managers import Manager, Supervisord, Systemd
from berth.provider.supervision.service import Service


@pytest.mark.parametrize("there", [False, True], ids=["new", "of an earlier version"])
@pytest.mark.parametrize(
    "manager",
    [Systemd(prefix="berth"), Supervisord(folder="/w/supervisor", control="/w/ctl")],
    ids=["systemd", "supervisord"],
)
async def test_logs_which_may_hold_prompts_are_for_the_login_alone(
    host: Host, tmp_path: Path, manager: Manager, there: bool
) -> None:
    logs = tmp_path / "a b/logs"
    if there:
        logs.mkdir(parents=True)
        logs.chmod(0o755)
    service = Service(name="one", folder=str(tmp_path / "one"), argv=("true",), log=str(logs / "one.log"))
    makes_room, *_ = manager.load(service)
    await host.run(makes_room)
    assert stat.S_IMODE(logs.stat().st_mode) == 0o700
