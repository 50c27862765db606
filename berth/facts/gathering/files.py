"""Configuration files that the prerequisites of a host are made of, with their contents."""

from __future__ import annotations

from berth.facts.gathering.sections import Sections, lines
from berth.facts.model import FileFact

# Not larger than 512 blocks of 512 bytes: what is longer is none of ours.
SCRIPT = r"""
part files
set --
for file in /etc/docker/daemon.json /etc/nvidia-container-runtime/config.toml /etc/nvidia-container-toolkit/* \
  /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/apt/preferences.d/* /etc/apt/apt.conf.d/*berth* \
  /etc/apt/apt.conf.d/*unattended-upgrades* /etc/apt/apt.conf.d/20auto-upgrades \
  /etc/apt/keyrings/* /usr/share/keyrings/cuda-archive-keyring.gpg /usr/share/keyrings/*berth* \
  /usr/share/keyrings/*nvidia* /usr/share/keyrings/*docker* \
  /etc/yum.repos.d/* /etc/pki/rpm-gpg/*berth* /etc/pki/rpm-gpg/*nvidia* /etc/pki/rpm-gpg/*docker* \
  /etc/dnf/plugins/versionlock.list /etc/dnf/plugins/versionlock.conf /etc/dnf/dnf.conf \
  /etc/modprobe.d/* /etc/modules-load.d/*berth* /etc/sysctl.conf /etc/sysctl.d/* \
  /etc/security/limits.d/*berth* \
  /etc/systemd/system/*berth* /etc/systemd/system/*.d/*berth* /etc/systemd/system/nvidia-*.service \
  /etc/systemd/system/docker.service /etc/systemd/system/docker.service.d/* \
  /etc/systemd/system/containerd.service.d/* /etc/systemd/system/nvidia-*.d/* \
  /etc/systemd/system.conf.d/*berth* /etc/default/grub.d/*berth* /etc/udev/rules.d/*berth* /etc/udev/rules.d/*nvidia*
do
  if [ ! -f "$file" ]; then continue; fi
  case " $* " in *" $file "*) ;; *) set -- "$@" "$file" ;; esac
done
if [ $# -gt 0 ]; then
  stat -L -c '%a %U:%G %s %n' -- "$@"
  part digests; sha256sum -- "$@"
  part contents; find -L "$@" -prune -type f -size -513 -exec grep -H '' /dev/null {} +
fi
"""


def read(found: Sections, unread: dict[str, str]) -> dict[str, FileFact]:
    """The files by path; `unread` gets those that this login may not read."""
    digests = {path: digest for digest, _, path in (line.partition("  ") for line in lines(found, "digests"))}
    contents: dict[str, list[str]] = {}
    about = {path: words for *words, path in (line.split(" ", 3) for line in lines(found, "files"))}
    for line in found.get("contents", "").split("\n"):
        path, colon, rest = line.partition(":")
        if colon and path in about:
            contents.setdefault(path, []).append(rest)
    files = {}
    for path, (mode, owner, size) in about.items():
        if path not in digests:
            unread[f"files.{path}"] = f"its mode {mode} and owner {owner} keep this login from it"
        files[path] = FileFact(
            mode=mode.zfill(4),
            owner=owner,
            content=_content(contents.get(path), int(size)),
            sha256=digests.get(path, ""),
        )
    return files


def _content(found: list[str] | None, size: int) -> str | None:
    """The text; None where it is none. `grep` ends the last line, which the file may not."""
    if found is None:
        return "" if size == 0 else None
    text = "\n".join(found) + "\n"
    if len(text.encode()) == size + 1:
        text = text[:-1]
    return text if len(text.encode()) == size and "\x00" not in text else None
