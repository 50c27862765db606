"""daemon.json when an update of it was cut: the real scripts, with a stand-in for systemctl that takes its time."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from berth.provider.operations.docker_configuration import DockerConfiguration, DockerConfigurationWant

OPERATION = DockerConfiguration()
HOSTS_OWN = '{"data-root": "/srv/docker"}\n'
SYSTEMCTL = """#!/bin/sh
if [ "$1" != restart ] || [ ! -e "$RUN/first" ]; then exit 0; fi
rm "$RUN/first"
echo restarts > "$RUN/told"
read -r action < "$RUN/told_back"
eval "$action"
exit 1
"""
"""Its first restart waits for what the test says, does that, and fails."""
_LIMIT_S = 30.0


def _pipe(path: Path) -> int:
    """A pipe that is open at both ends, so that nobody waits for the other to open it."""
    os.mkfifo(path)
    return os.open(path, os.O_RDWR)


@dataclass(frozen=True)
class Box:
    """A folder with a daemon.json, and what runs there."""

    root: Path
    told: int
    told_back: int

    @property
    def path(self) -> Path:
        """Its file."""
        return self.root / "docker/daemon.json"

    @property
    def left(self) -> list[str]:
        """All that is in the file's folder."""
        return sorted(path.name for path in self.path.parent.iterdir())

    def start(self, settings: Mapping[str, Any], patience: int | None = None) -> subprocess.Popen[str]:
        """An update as the provider runs it."""
        want = DockerConfigurationWant(host="box", path=str(self.path), settings=dict(settings))
        text = self.path.read_text() if self.path.exists() else None
        have = None if text is None else want.model_copy(update={"settings": {}, "text": text})
        (command,) = OPERATION.steps(want, have)
        argv = [*command.argv]
        if patience is not None:
            argv[-1] = str(patience)
        environment = {"PATH": f"{self.root}/bin:/usr/bin:/bin", "RUN": str(self.root)}
        assert isinstance(command.stdin, bytes)
        with tempfile.TemporaryFile() as content:  # a pipe would break where the script ends before it reads
            content.write(command.stdin)
            content.seek(0)
            return subprocess.Popen(argv, env=environment, text=True, stdin=content, stderr=subprocess.PIPE)

    def restarting(self) -> None:
        """Waits until the first update restarts Docker."""
        assert select.select([self.told], [], [], _LIMIT_S)[0], "nobody restarts Docker"
        os.read(self.told, 100)

    def then(self, action: str = ":") -> None:
        """Lets the restart do something and fail."""
        os.write(self.told_back, f"{action}\n".encode())


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    for name in ("bin", "docker"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin/systemctl").write_text(SYSTEMCTL)
    (tmp_path / "bin/systemctl").chmod(0o755)
    (tmp_path / "first").touch()
    made = Box(tmp_path, _pipe(tmp_path / "told"), _pipe(tmp_path / "told_back"))
    made.path.write_text(HOSTS_OWN)
    yield made
    for pipe in (made.told, made.told_back):
        os.close(pipe)


def _end(update: subprocess.Popen[str]) -> tuple[int, str]:
    said = update.communicate(timeout=_LIMIT_S)[1]
    return update.returncode, said


def test_an_update_beside_one_that_was_cut_leaves_its_backup_alone(box: Box) -> None:
    cut = box.start({"log-driver": "local"})
    box.restarting()
    cut.kill()
    _end(cut)
    second = box.start({"log-driver": "journald"})
    assert second.stderr is not None
    assert "waiting for another change" in second.stderr.readline()
    box.then()
    assert _end(second) == (1, f"{box.path} was changed meanwhile; run the same again\n")
    assert (box.path.read_text(), box.left) == (HOSTS_OWN, ["daemon.json"])
    assert _end(box.start({"log-driver": "journald"})) == (0, "")
    assert '"data-root": "/srv/docker"' in box.path.read_text()


def test_waiting_for_another_has_an_end(box: Box) -> None:
    held = os.open(box.path.parent, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    status, said = _end(box.start({"debug": True}, patience=0))
    os.close(held)
    assert (status, box.path.read_text()) == (1, HOSTS_OWN)
    assert "runs for more than 0 s; look at Docker there, then run the same again" in said


@pytest.mark.parametrize(
    ("action", "before", "after", "said"),
    [
        (":", HOSTS_OWN, HOSTS_OWN, "the file of before is back. It said"),
        (":", None, None, "there was none"),
        ("echo '{}' > $RUN/docker/daemon.json", HOSTS_OWN, "{}\n", "changed by somebody else meanwhile and is left so"),
        ("echo '{}' > $RUN/docker/daemon.json", None, "{}\n", "changed by somebody else meanwhile and is left so"),
        ("rm -r $RUN/docker/.berth.*", HOSTS_OWN, "srv/docker", "the file of before is lost"),
    ],
    ids=["back", "there was none", "changed", "changed, there was none", "the backup is gone"],
)
def test_only_what_was_put_there_is_taken_back(
    box: Box, action: str, before: str | None, after: str | None, said: str
) -> None:
    if before is None:
        box.path.unlink()
    update = box.start({"log-driver": "local"})
    box.restarting()
    box.then(action)
    status, told = _end(update)
    assert status == 1
    assert said in told
    assert (after in box.path.read_text()) if after is not None else not box.path.exists()
    assert box.left == ([] if after is None else ["daemon.json"])
