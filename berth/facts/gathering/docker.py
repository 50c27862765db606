"""Docker, the container toolkit, and the CDI files that give containers their GPUs."""

from __future__ import annotations

import json
import re
from typing import Any

from berth.facts.gathering.sections import Sections, lines, text
from berth.facts.model import CdiFile, DockerFact

SCRIPT = r"""
part docker_path; command -v docker
part docker_socket
if [ -S /var/run/docker.sock ]; then
  stat -L -c '%U %G %a' /var/run/docker.sock
  if [ -r /var/run/docker.sock ] && [ -w /var/run/docker.sock ]; then echo usable; fi
fi
# Where systemd keeps its socket, asking a daemon that was stopped would start it.
daemon= said=
read -r daemon < /var/run/docker.pid && read -r daemon < "/proc/$daemon/comm"
if has docker && { [ ! -d /run/systemd/system ] || [ "$daemon" = dockerd ] ||
  systemctl -q is-active docker.service snap.docker.dockerd.service; }
then
  said=$(within 15 docker info --format '{{json .}}' 2>&1)
  part docker; printf '%s\n' "$said"
fi
case $said in
  *'"ClientInfo":{"Debug":false,"Version":"'*) ;; # it is said there
  *) if has docker; then part docker_client; docker --version; fi ;;
esac
part toolkit; if has nvidia-ctk; then nvidia-ctk --version; fi
part started; stat -c %Z /var/run/docker.pid
# Its folders outlive an upgrade, after which Docker need not look again; a few file systems know no time of making.
part toolkit_came
if has nvidia-ctk; then
  { stat -L -c %Z "$(command -v nvidia-container-runtime || command -v nvidia-ctk)"
    stat -c %W /etc/nvidia-container-toolkit /etc/nvidia-container-runtime; } | grep '^[1-9]' | sort -n | head -n 1
fi
part cdi
for file in /etc/cdi/*.yaml /etc/cdi/*.yml /etc/cdi/*.json \
  /var/run/cdi/*.yaml /var/run/cdi/*.yml /var/run/cdi/*.json
do
  if [ ! -f "$file" ]; then continue; fi
  echo "file $file"
  case $file in
    *.json) tr -d '\n' < "$file"; echo ;;
    *) grep -oE '^kind:.*|^ *(- )?name:.*|libcuda\.so\.[0-9]+\.[0-9.]+' "$file" | sort -u
      sed -n -e '/^ *- nvidia-cdi-hook$/{n;s/^ *- /hook /p;}' \
        -e '/^ *- nvidia-ctk$/{n;n;s/^ *- /hook /p;}' "$file" | sort -u ;;
  esac
done
"""

_NAME = re.compile(r"^ *(?:- )?name:\s*(.*)$")
_LIBRARY = re.compile(r"libcuda\.so\.(\d+\.[\d.]*\d)")
_DOTTED = re.compile(r"\d+\.[\w.~+-]*\w")


def read(found: Sections, unread: dict[str, str], *, root: bool) -> dict[str, Any]:
    """The fields of this theme."""
    toolkit = _DOTTED.search(text(found, "toolkit"))
    return {
        "docker": _docker(found, unread, root=root),
        "toolkit": toolkit[0] if toolkit else None,
        "cdi": tuple(_cdi(found)),
    }


def _docker(found: Sections, unread: dict[str, str], *, root: bool) -> DockerFact:
    path = text(found, "docker_path")
    socket = lines(found, "docker_socket")
    info = _info(text(found, "docker"))
    client = _DOTTED.search(str((info.get("ClientInfo") or {}).get("Version") or text(found, "docker_client")))
    version = info.get("ServerVersion") or None
    if path and socket and version is None and not root:
        unread["docker"] = (
            "this login may not talk to the Docker daemon; add it to the group docker, or let it use sudo"
        )
    return DockerFact(
        client=client[0] if client else None,
        version=version,
        snap="/snap/" in path,
        cgroup_driver=info.get("CgroupDriver") or None,
        root=info.get("DockerRootDir") or None,
        default_runtime=info.get("DefaultRuntime") or None,
        runtimes=tuple(sorted(info.get("Runtimes") or {})),
        cdi_dirs=tuple(info.get("CDISpecDirs") or ()),
        cdi_devices=tuple(
            str(device.get("ID")) for device in info.get("DiscoveredDevices") or () if device.get("Source") == "cdi"
        ),
        live_restore=info.get("LiveRestoreEnabled") if version else None,
        running=info.get("ContainersRunning") if version else None,
        detected=_detected(found),
        usable=_usable(found, socket),
    )


def _usable(found: Sections, socket: list[str]) -> bool:
    """Whether the login itself may: it is root, the socket's owner or in its group, or could open it."""
    if not socket:
        return False
    if text(found, "login_uid") == "0":
        return True
    owner, group, *_ = [*socket[0].split(), "", ""]
    login, groups = found["login"].splitlines()[0], text(found, "groups").split()
    as_login = bool("".join(found["login"].splitlines()[2:]).strip())  # without root, the script ran as the login
    return login == owner or group in groups or (as_login and "usable" in socket)


def _detected(found: Sections) -> bool | None:
    """By the seconds at which the daemon's process file and the toolkit's program came to be."""
    started, came = text(found, "started"), text(found, "toolkit_came")
    return int(started) >= int(came) if started.isdigit() and came.isdigit() else None


def _info(said: str) -> dict[str, Any]:
    """What `docker info` wrote: one line of JSON, with warnings around it."""
    for line in said.splitlines():
        if line.startswith("{"):
            try:
                info = json.loads(line)
            except ValueError:
                return {}
            return info if isinstance(info, dict) else {}
    return {}


def _cdi(found: Sections) -> list[CdiFile]:
    files: list[CdiFile] = []
    path, content = "", list[str]()
    for line in [*lines(found, "cdi"), "file "]:
        if not line.startswith("file "):
            content.append(line)
            continue
        if path:
            files.append(_json_file(path, content) if path.endswith(".json") else _yaml_file(path, content))
        path, content = line.removeprefix("file "), []
    return files


def _yaml_file(path: str, content: list[str]) -> CdiFile:
    """From the lines that matter: all of it may be hundreds of kilobytes for eight GPUs."""
    names = sorted({match[1].strip("\"' ") for line in content if (match := _NAME.match(line))})
    kind = next((line.partition(":")[2].strip("\"' ") for line in content if line.startswith("kind:")), "")
    library = next((match[1] for line in content if (match := _LIBRARY.search(line))), None)
    hooks = tuple(line.removeprefix("hook ") for line in content if line.startswith("hook "))
    return CdiFile(path=path, kind=kind, devices=tuple(names), driver=library, hooks=hooks)


def _json_file(path: str, content: list[str]) -> CdiFile:
    said = "".join(content)
    try:
        spec = json.loads(said)
        kind, devices = str(spec.get("kind", "")), sorted(str(one["name"]) for one in spec.get("devices", ()))
        edits = [spec.get("containerEdits") or {}, *(one.get("containerEdits") or {} for one in spec["devices"])]
        hooks = sorted({_hook(hook["args"]) for edit in edits for hook in edit.get("hooks") or ()} - {""})
    except (ValueError, AttributeError, TypeError, KeyError):
        kind, devices, hooks = "", [], []
    library = _LIBRARY.search(said)
    driver = library[1] if library else None
    return CdiFile(path=path, kind=kind, devices=tuple(devices), driver=driver, hooks=tuple(hooks))


def _hook(arguments: list[str]) -> str:
    """`nvidia-cdi-hook NAME …`, before 1.18 `nvidia-ctk hook NAME …`."""
    names = arguments[2:] if arguments[:1] == ["nvidia-ctk"] else arguments[1:]
    return names[0] if names else ""
