"""Where a project keeps what Pulumi needs, and the environment that makes plain `pulumi` work in it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import yaml

from berth.lifecycle.errors import LifecycleError

DEV = "dev"
"""The embedded default stack; its passphrase is public, because its salt is committed (see Pulumi.dev.yaml)."""

_DEV_PASSPHRASE = "berth-dev"  # noqa: S105 -- public on purpose; the mode of .berth protects that stack
_STACK = re.compile(r"[A-Za-z0-9_.-]{1,100}")  # what Pulumi accepts as a stack's own name


@dataclass(frozen=True)
class Project:
    """A folder with a Pulumi.yaml; everything that running it makes lies in `.berth/` and `.venv/` below."""

    root: Path

    @classmethod
    def here(cls) -> Project:
        """The project that this package belongs to."""
        return cls(Path(__file__).resolve().parents[2])

    @property
    def name(self) -> str:
        """The project's name, as Pulumi.yaml says it."""
        return str(self._yaml("Pulumi.yaml")["name"])

    @property
    def folder(self) -> Path:
        """What this project makes on this machine; mode 0700."""
        return self.root / ".berth"

    @property
    def script(self) -> Path:
        """The file that a shell sources."""
        return self.folder / "env"

    def open(self) -> None:
        """Make the project's own folders; their mode protects the state of the dev stack."""
        for folder in (self.folder, self.folder / "state", self.folder / "pulumi-home"):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
        logs = self.folder / "pulumi-home/logs"
        if not logs.exists():
            # Pulumi logs all that it hears at the most verbose level, compressed and encrypted, and has no setting for
            # it: a third of what a preview of thirty models costs. Where it cannot have that folder it goes on without.
            logs.touch(mode=0o600)

    def check(self, stack: str, environ: Mapping[str, str]) -> None:
        """Refuse a stack that cannot be: before anything of it exists.

        Raises:
            LifecycleError: the name is not one, nothing describes it, or its secrets have no passphrase.
        """
        if not _STACK.fullmatch(stack):
            raise LifecycleError(f"stack {stack!r}: is no name, must be letters, digits, `-`, `_` and `.`; rename it")
        stacks = self.root / "stacks"
        if stacks.is_dir() and not (stacks / f"{stack}.yaml").is_file():
            known = ", ".join(sorted(path.stem for path in stacks.glob("*.yaml"))) or "none"
            raise LifecycleError(
                f"stack {stack}: has no file stacks/{stack}.yaml, must have one; write it, or choose of: {known}"
            )
        if stack != DEV and "secretsprovider" not in self._yaml(f"Pulumi.{stack}.yaml"):
            _check_passphrase(stack, environ)

    def variables(self, stack: str, environ: Mapping[str, str]) -> dict[str, str]:
        """What Pulumi needs to be told, apart from PATH.

        Args:
            stack: the stack to work on.
            environ: the caller's environment. A backend that the user chose there stays; one that the script of
                another clone put there does not.
        """
        theirs = environ.get("BERTH_PROJECT")
        chosen = environ.get("PULUMI_BACKEND_URL")
        if theirs is not None and chosen == _backend(Path(theirs)):
            chosen = None
        result = {
            "BERTH_PROJECT": str(self.root),
            "VIRTUAL_ENV": str(self.root / ".venv"),
            "PULUMI_HOME": str(self.folder / "pulumi-home"),
            "PULUMI_BACKEND_URL": chosen or _backend(self.root),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_LOG_ROTATION_MAX_TOTAL_MB": "50",  # it keeps a log of every command, 500 MB of them if not told
            "PULUMI_PYTHON_CMD": str(Path(__file__).with_name("pulumi-python")),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",  # a newer language host lists the packages with pip all the same
            # It would try the network for the plugin of every Pulumi package in the environment, five times, at every
            # run; so it does for those that the stack's own resources ask for.
            "PULUMI_OPTION_SKIP_PLUGIN_PRE_INSTALL": "true",
            # A refresh or destroy runs the program first, so that a moved host or changed key reaches the provider.
            "PULUMI_RUN_PROGRAM": "true",
        }
        if stack == DEV:
            result["PULUMI_CONFIG_PASSPHRASE"] = _DEV_PASSPHRASE
        return result

    def paths(self, pulumi: Path) -> list[str]:
        """What comes first on PATH: the environment's Python, then the CLI with its language host."""
        return [str(self.root / ".venv" / "bin"), str(pulumi)]

    def environment(self, stack: str, pulumi: Path, environ: Mapping[str, str]) -> dict[str, str]:
        """The whole environment of a Pulumi process."""
        path = [*self.paths(pulumi), *filter(None, environ.get("PATH", "").split(":"))]
        return {**environ, **self.variables(stack, environ), "PATH": ":".join(dict.fromkeys(path))}

    def source(self, stack: str, pulumi: Path, environ: Mapping[str, str]) -> str:
        """The script that gives a shell the same environment; a passphrase of the user is not written into it."""
        lines = [f"# For a shell: source {self.script.relative_to(self.root)}; made again by every `make up`."]
        values = self.variables(stack, environ)
        lines += [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
        if stack != DEV:  # the dev stack may be up beside this one
            lines.append(f'export PULUMI_CONFIG_PASSPHRASE="${{PULUMI_CONFIG_PASSPHRASE-{_DEV_PASSPHRASE}}}"')
        for folder in reversed(self.paths(pulumi)):
            quoted = shlex.quote(folder)
            lines.append(f'case ":$PATH:" in *:{quoted}:*) ;; *) export PATH={quoted}:"$PATH" ;; esac')
        return "\n".join(lines) + "\n"

    def state(self, environ: Mapping[str, str]) -> Path | None:
        """The folder of a file backend; None for any other."""
        parts = urlsplit(environ["PULUMI_BACKEND_URL"])
        if parts.scheme != "file":
            return None
        path = unquote(f"{parts.netloc}{parts.path}")  # file://~/x has the ~ where a host would be
        return self.root / Path(path).expanduser()

    def _yaml(self, name: str) -> Mapping[str, Any]:
        try:
            data = yaml.safe_load((self.root / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise LifecycleError(f"{name}: cannot be read, must be YAML; {error}") from None
        return data if isinstance(data, dict) else {}


def _check_passphrase(stack: str, environ: Mapping[str, str]) -> None:
    remedy = (
        "set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE, "
        "or name a key service (`pulumi stack init --secrets-provider`)"
    )
    if not {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"} & environ.keys():
        raise LifecycleError(f"stack {stack}: has no passphrase for its secrets, must have one; {remedy}")
    if environ.get("PULUMI_CONFIG_PASSPHRASE") == _DEV_PASSPHRASE:
        raise LifecycleError(
            f"stack {stack}: has the public passphrase of the {DEV} stack, must have one of its own; {remedy}"
        )


def _backend(root: Path) -> str:
    return f"file://{quote(str(root))}/.berth/state"
