"""What keeps a service running: systemd where it runs, else supervisord; both build files and commands, purely.

The third is Docker, in `berth.provider.docker.manager`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from berth.provider.command import Command, put, shell
from berth.provider.supervision import status
from berth.provider.supervision.service import RUNNER, Service
from berth.provider.supervision.status import Looking, Status

_GRACE_S = 10
"""On top of a service's own time to stop: the runner needs it to see that nothing is left."""


# By name, since a plain update would act on what others are adding and removing, and one at a time, since supervisorctl
# first lists all programs and fails when one of them goes meanwhile. A program it does not know is forgotten already.
_UPDATE = """
if ! said=$(flock -x "$2" "$1" -c "$2" update "$3" 2>&1); then
  case $said in *"no such group"*) ;; *) printf '%s\\n' "$said" >&2; exit 1 ;; esac
fi
"""


class Manager(Looking, Protocol):
    """One way to keep services running."""

    def unit_path(self, service: Service) -> str:
        """The file that makes the manager know the service."""
        ...

    def unit(self, service: Service) -> str:
        """That file's content."""
        ...

    def load(self, service: Service) -> Sequence[Command]:
        """Makes the manager read a new or changed unit, without starting or stopping anything."""
        ...

    def start(self, service: Service) -> Sequence[Command]:
        """Starts the service and returns at once."""
        ...

    def stop(self, service: Service) -> Sequence[Command]:
        """Stops the service and returns when nothing of it is left; no failure when it does not run."""
        ...

    def unload(self, service: Service) -> Sequence[Command]:
        """Makes the manager forget a stopped service."""
        ...

    def log(self, service: Service) -> str:
        """Where all lines of the service are, for a person."""
        ...


class _OnHost(ABC):
    """What the runner leaves in the service's folder says how it is, whoever keeps it running."""

    @abstractmethod
    def unit_path(self, service: Service) -> str:
        """See `Manager`."""

    def look(self, service: Service, log_from: int | None = None) -> Command:
        """See `Manager`."""
        return status.look(service, self.unit_path(service), log_from)

    def read(self, stdout: str, log_from: int | None = None) -> Status:
        """See `Manager`."""
        return status.read(stdout, log_from)

    def log(self, service: Service) -> str:
        """See `Manager`."""
        return service.log


@dataclass(frozen=True)
class Supervisord(_OnHost):
    """One supervisord for a stack; `folder` holds its configuration, `control` is its `supervisorctl`."""

    folder: str
    control: str

    def unit_path(self, service: Service) -> str:
        """See `Manager`."""
        return f"{self.folder}/conf.d/{service.name}.conf"

    def unit(self, service: Service) -> str:
        """A program section. It tries for ever, with longer and longer pauses after a quick end."""
        restart = {"always": "true", "on-failure": "unexpected", "never": "false"}[service.restart]
        return "\n".join(
            [
                f"[program:{service.name}]",
                f"command=/bin/sh {_percent(_quoted(service.run_path))}",
                f"autorestart={restart}",
                "exitcodes=0",
                "startsecs=1",
                "startretries=1000000",
                "stopsignal=TERM",
                f"stopwaitsecs={service.stop_timeout_s + _GRACE_S}",
                "killasgroup=true",
                "stdout_logfile=NONE",  # the run script opens the log itself
                "stderr_logfile=NONE",
                "",
            ]
        )

    def load(self, service: Service) -> Sequence[Command]:
        """Rereads the configuration; a new program is added without being started by hand."""
        return [
            _make_log_folder(service),
            self._update(service, says=f"making supervisord read {service.name}"),
        ]

    def start(self, service: Service) -> Sequence[Command]:
        """`start` fails for a program that supervisord started itself while it read the configuration."""
        return [self._control("start", service.name, says=f"starting {service.name}", ok=frozenset({0, 7}))]

    def stop(self, service: Service) -> Sequence[Command]:
        """`stop` waits until the runner has ended, which is when nothing of the service is left."""
        return [
            self._control(
                "stop",
                service.name,
                says=f"stopping {service.name}",
                timeout_s=service.stop_timeout_s + 3 * _GRACE_S,
                ok=frozenset({0, 1, 4, 7}),
            )
        ]

    def unload(self, service: Service) -> Sequence[Command]:
        """Removes the file, then the program."""
        return [
            shell('rm -f -- "$1"', self.unit_path(service), says=f"removing {service.name} from supervisord"),
            self._update(service, says=f"making supervisord forget {service.name}"),
        ]

    def _update(self, service: Service, *, says: str) -> Command:
        return shell(_UPDATE, self.control, f"{self.folder}/supervisord.conf", service.name, says=says)

    def _control(
        self, *arguments: str, says: str, timeout_s: float = 60.0, ok: frozenset[int] = frozenset({0})
    ) -> Command:
        argv = (self.control, "-c", f"{self.folder}/supervisord.conf", *arguments)
        return Command(argv=argv, says=says, timeout_s=timeout_s, ok=ok)


@dataclass(frozen=True)
class Systemd(_OnHost):
    """The host's systemd; `prefix` starts the name of every unit of this stack."""

    prefix: str

    def unit_path(self, service: Service) -> str:
        """See `Manager`."""
        return f"/etc/systemd/system/{self.unit_name(service)}"

    def unit_name(self, service: Service) -> str:
        """The unit's name, unique on the host."""
        return f"{self.prefix}-{service.name}.service"

    def unit(self, service: Service) -> str:
        """A service unit that starts at boot; what its main process leaves is killed with its control group."""
        restart = {"always": "always", "on-failure": "on-failure", "never": "no"}[service.restart]
        return "\n".join(
            [
                "[Unit]",
                f"Description=Berth: {_percent(service.name)}",
                "After=network-online.target",
                "Wants=network-online.target",
                "StartLimitIntervalSec=0",
                "",
                "[Service]",
                f"ExecStart=/bin/sh {_percent(_quoted(service.run_path))}",
                f"Restart={restart}",
                "RestartSec=2",
                "KillMode=mixed",
                f"TimeoutStopSec={service.stop_timeout_s + _GRACE_S}",
                *([f"CPUQuota={service.cpus:.0%}"] if service.cpus else []),
                *([f"MemoryMax={service.memory}"] if service.memory else []),
                "StandardOutput=null",  # the run script opens the log itself
                "StandardError=journal",
                "",
                "[Install]",
                "WantedBy=multi-user.target",
                "",
            ]
        )

    def load(self, service: Service) -> Sequence[Command]:
        """Rereads units and enables this one for the next boot."""
        script = 'systemctl daemon-reload; systemctl enable --quiet "$1"'
        return [
            _make_log_folder(service),
            shell(script, self.unit_name(service), says=f"making systemd read {service.name}"),
        ]

    def start(self, service: Service) -> Sequence[Command]:
        """Starts the unit; a failed one is reset first, so that its pause is not waited for."""
        script = 'systemctl reset-failed "$1" 2> /dev/null || :; systemctl start --no-block "$1"'
        return [shell(script, self.unit_name(service), says=f"starting {service.name}")]

    def stop(self, service: Service) -> Sequence[Command]:
        """`systemctl stop` waits until the control group is empty."""
        return [
            Command(
                argv=("systemctl", "stop", self.unit_name(service)),
                says=f"stopping {service.name}",
                timeout_s=service.stop_timeout_s + 3 * _GRACE_S,
                ok=frozenset({0, 5}),
            )
        ]

    def unload(self, service: Service) -> Sequence[Command]:
        """Disables and removes the unit."""
        script = 'systemctl disable --quiet "$1" 2> /dev/null || :; rm -f -- "$2"; systemctl daemon-reload'
        return [shell(script, self.unit_name(service), self.unit_path(service), says=f"removing {service.name}")]


def files(manager: Manager, service: Service) -> Sequence[Command]:
    """Everything that must lie on the host before the service can be loaded: the runner last read, first written."""
    return [
        put(f"{service.folder}/runner.sh", RUNNER),
        put(service.run_path, service.render(), mode="0755"),
        put(manager.unit_path(service), manager.unit(service)),
    ]


# Earlier versions left it open; then its files were, too, and nobody but the login gets to them now.
_LOG_FOLDER = """
logs=$(dirname -- "$1")
(umask 077; mkdir -p -- "$logs")
if [ -O "$logs" ]; then chmod 0700 -- "$logs"; fi
"""


def _make_log_folder(service: Service) -> Command:
    """For the login alone: vLLM before 0.10.1 writes every prompt into its log."""
    return shell(_LOG_FOLDER, service.log, says=f"making room for the log of {service.name}")


def _quoted(path: str) -> str:
    """A path as one word of a unit's command line; both managers understand double quotes and backslashes."""
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _percent(text: str) -> str:
    """Both managers expand `%`."""
    return text.replace("%", "%%")
