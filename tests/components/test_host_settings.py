"""How the plan's hosts reach the provider, and what paths of a stack file become on them."""

from __future__ import annotations

from pathlib import Path

import pulumi
import pytest

from berth.planner.plan import HostPlan, Local, Ssh
from berth.provider.host import HostSettings
from components.observed import host_settings
from components.place import absolute

HOME = Path.home()


def host(connection: Local | Ssh, root: str = "~/.local/share/berth") -> HostPlan:
    return HostPlan(name="box", connection=connection, runtime="process", root=root)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("~", "/home/me"),
        ("~/models/a", "/home/me/models/a"),
        ("models/a", "/project/models/a"),
        ("/srv/a b", "/srv/a b"),
        ("~other/a", "/project/~other/a"),
    ],
)
def test_paths_of_a_stack_file(path: str, expected: str) -> None:
    assert absolute(path, folder="/project", home="/home/me") == expected


@pytest.mark.parametrize(
    ("root", "here", "there"),
    [
        ("~/.local/share/berth", f"{HOME}/.local/share/berth/dev", ".local/share/berth/dev"),
        ("~", f"{HOME}/dev", "dev"),
        (".berth/hosts", "/project/.berth/hosts/dev", ".berth/hosts/dev"),
        ("/srv/berth", "/srv/berth/dev", "/srv/berth/dev"),
    ],
)
def test_a_workspace_over_ssh_is_relative_to_a_home_not_known_yet(root: str, here: str, there: str) -> None:
    assert host_settings(host(Local(), root), "dev", Path("/project")) == {"connection": "local", "workspace": here}
    assert host_settings(host(Ssh(host="gpu"), root), "dev", Path("/project"))["workspace"] == there


def test_the_provider_takes_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulumi.Config, "require", lambda _, name: f"value of {name}")
    ssh = Ssh(host="gpu", user="me", port=2222, key_file="keys/id", sudo_password="sudo", proxy_jump="a@b:1")
    settings = HostSettings.model_validate(host_settings(host(ssh), "dev", Path("/project")))
    assert settings.connection != "local"
    said = settings.connection.ssh
    assert (said.host, said.user, said.port, said.proxy_jump) == ("gpu", "me", 2222, "a@b:1")
    assert said.key_file == "/project/keys/id"
    assert said.sudo_password is not None
    assert said.sudo_password.get_secret_value() == "value of sudo"
    assert "value of sudo" not in repr(settings)
