"""Operating system, kernel, container, boot, memory, disks, users and ports."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

from berth.facts.gathering.sections import Sections, lines, text
from berth.facts.model import Disk, OperatingSystem

SCRIPT = r"""
part login; printf '%s\n%s\n%s\n' "$user" "$home" "$refused"
part login_uid; id -u "$user"
part login_gid; id -g "$user"
part os; cat /etc/os-release || cat /usr/lib/os-release
part uname; uname -mr
part systemd; if [ -d /run/systemd/system ]; then echo yes; fi
part pod; printf '%s\n' "${RUNPOD_POD_ID-}"
tr '\0' '\n' < /proc/1/environ | grep -e '^RUNPOD_POD_ID=' -e '^container='
part container
if [ -r /run/systemd/container ]; then cat /run/systemd/container
elif [ -d /var/run/secrets/kubernetes.io ]; then echo kubernetes
elif [ -e /.dockerenv ]; then echo docker
elif [ -e /run/.containerenv ]; then echo podman
elif [ -e /dev/.lxc-boot-id ] || [ -d /dev/lxd ]; then echo lxc; fi
part efi; if [ -d /sys/firmware/efi ]; then echo efi; fi
part secure_boot
if [ -r /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c ]; then
  od -An -v -t u1 /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
elif has mokutil; then mokutil --sb-state; fi
part memory; grep '^MemTotal:' /proc/meminfo
for limit in memory.max memory/memory.limit_in_bytes; do cat "/sys/fs/cgroup/$limit" 2> /dev/null || :; done
part cores; nproc || grep -c '^processor' /proc/cpuinfo
part disks; within 10 df -Pkl || within 10 df -Pk
part boot_id; cat /proc/sys/kernel/random/boot_id
part reboot; for file in /run/reboot-required /var/run/reboot-required; do if [ -e "$file" ]; then echo yes; fi; done
part passwd; cat /etc/passwd
part group; cat /etc/group
part groups; id -Gn "$user"
part ports; grep -h ' 0A ' /proc/net/tcp /proc/net/tcp6
part sysctl
{ for key in fs/file-max fs/nr_open fs/inotify/max_user_watches fs/inotify/max_user_instances \
    vm/max_map_count vm/swappiness vm/overcommit_memory vm/nr_hugepages vm/zone_reclaim_mode \
    kernel/pid_max kernel/threads-max kernel/numa_balancing kernel/shmmax kernel/shmall kernel/dmesg_restrict \
    net/core/somaxconn net/core/rmem_max net/core/wmem_max net/core/netdev_max_backlog \
    net/ipv4/tcp_max_syn_backlog net/ipv4/ip_local_port_range net/ipv4/ip_forward net/ipv4/tcp_keepalive_time
  do echo "$key"; done
  for file in /etc/sysctl.d/*berth*; do
    while IFS=' 	=' read -r key value; do
      key=${key#-}
      case $key in
        '' | '#'* | ';'* | /* | *[!A-Za-z0-9_:./-]* | *..* | *//*) continue ;;
      esac
      case ${key#"${key%%[./]*}"} in .*) key=$(printf %s "$key" | tr ./ /.) ;; esac
      echo "$key"
    done < "$file"
  done
} | { cd /proc/sys && xargs grep -sH '' /dev/null; }
"""

_SWAPPED = str.maketrans("./", "/.")
_ENABLED = 1
_LISTENING = re.compile(r"^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) ")
_MADE_UP = ("tmpfs", "devtmpfs", "udev", "none", "efivarfs", "overlay", "shm")
_OF_DOCKER = ("/var/lib/docker/", "/var/lib/containerd/", "/run/", "/etc/", "/proc/", "/sys/", "/snap/")


def read(found: Sections, unread: dict[str, str]) -> dict[str, Any]:
    """The fields of `HostFacts` of this theme, and `refused`: why root's rights are not to be had, or empty."""
    user, home, *refused = [*found["login"].splitlines(), "", ""]
    architecture, kernel = _uname(text(found, "uname"))
    why = "\n".join(refused).strip()
    if why:
        unread["root"] = why
    systemd = bool(text(found, "systemd"))
    container = _container(found)
    return {
        "refused": why,
        "user": user,
        "uid": _number(text(found, "login_uid"), 0),
        "gid": _number(text(found, "login_gid"), 0),
        "home": home,
        "os": _os(found.get("os", "")),
        "architecture": architecture,
        "kernel": kernel,
        "systemd": systemd,
        "init": "systemd" if systemd and text(found, "login_uid") == "0" else "supervisord",
        "container": container,
        "secure_boot": _secure_boot(found, in_container=container is not None),
        "cores": _number(text(found, "cores"), 1),
        "memory": _memory(lines(found, "memory")),
        "disks": _disks(found),
        "boot_id": text(found, "boot_id"),
        "reboot_required": bool(text(found, "reboot")),
        "users": _users(found, user),
        "ports": tuple(
            sorted({int(match[1], 16) for line in lines(found, "ports") if (match := _LISTENING.match(line))})
        ),
        "sysctl": {
            key.translate(_SWAPPED): " ".join(value.split())
            for key, _, value in (line.partition(":") for line in lines(found, "sysctl"))
        },
    }


def _uname(said: str) -> tuple[str, str]:
    """`uname -mr` writes the kernel first, whatever the order of its options."""
    kernel, _, machine = said.partition(" ")
    return machine, kernel


def _os(release: str) -> OperatingSystem:
    said: dict[str, str] = {}
    for line in release.splitlines():
        key, sign, value = line.partition("=")
        if sign:
            try:
                said[key.strip()] = " ".join(shlex.split(value))
            except ValueError:
                said[key.strip()] = value.strip("\"'")
    return OperatingSystem(
        id=said.get("ID", "linux"),
        version=said.get("VERSION_ID", ""),
        codename=said.get("VERSION_CODENAME", ""),
        like=tuple(said.get("ID_LIKE", "").split()),
        pretty=said.get("PRETTY_NAME", ""),
    )


def _container(found: Sections) -> str | None:
    pod = lines(found, "pod")
    said = dict(line.split("=", 1) for line in pod if "=" in line)
    if said.get("RUNPOD_POD_ID") or any("=" not in line for line in pod):
        return "runpod"
    return text(found, "container") or said.get("container") or None


def _secure_boot(found: Sections, *, in_container: bool) -> str:
    said = text(found, "secure_boot")
    words = said.split()
    if words[:1] == ["SecureBoot"] and words[1:2] in (["enabled"], ["disabled"]):
        return words[1]
    if words and all(word.isdigit() for word in words):  # four bytes of attributes, then the value
        return "enabled" if int(words[-1]) == _ENABLED else "disabled"
    if words:  # mokutil's sentences of what it cannot say
        return "unknown"
    # A machine that was not booted by EFI has no Secure Boot; a container may just not be shown it.
    return "unknown" if in_container or text(found, "efi") else "disabled"


def _number(said: str, otherwise: int) -> int:
    """The number at the beginning of an answer; `otherwise` where it says something else."""
    first = said.split()[:1]
    return int(first[0]) if first and first[0].isdigit() else otherwise


def _memory(said: Sequence[str]) -> int:
    """The machine's, or what a container of it may have: /proc/meminfo shows the former in both."""
    total = _number("".join(said[:1]).partition(":")[2], 0) * 1024
    limits = [int(line) for line in said[1:] if line.strip().isdigit()]
    return min([total, *limits])


def _disks(found: Sections) -> tuple[Disk, ...]:
    disks: dict[str, Disk] = {}
    for line in lines(found, "disks")[1:]:
        words = line.split(None, 5)
        if len(words) != 6 or not words[1].isdigit() or not words[3].isdigit():
            continue
        device, mount = words[0], words[5]
        if device in _MADE_UP and mount not in {"/", "/dev/shm"}:  # noqa: S108 -- a mount point to be told of
            continue
        if not mount.startswith(_OF_DOCKER) and not device.startswith("/dev/loop"):
            disks[mount] = Disk(mount=mount, size=int(words[1]) * 1024, free=int(words[3]) * 1024)
    return tuple(disks.values())


def _users(found: Sections, login: str) -> dict[str, tuple[str, ...]]:
    """Every account of the machine's own files, and the login itself, which a directory service may know alone."""
    names: dict[str, str] = {}  # a user's first group, by its number
    users: dict[str, set[str]] = {}
    for line in lines(found, "passwd"):
        name, _, _, gid = (line.split(":") + [""] * 4)[:4]
        users[name], names[name] = set(), gid
    for line in lines(found, "group"):
        group, _, gid, members = (line.split(":") + [""] * 4)[:4]
        for name, groups in users.items():
            if names[name] == gid or name in members.split(","):
                groups.add(group)
    users.setdefault(login, set()).update(text(found, "groups").split())
    return {name: tuple(sorted(of)) for name, of in sorted(users.items())}
