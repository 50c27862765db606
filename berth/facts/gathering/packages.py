"""Installed packages of either package manager, with what holds them back."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any, Literal

from berth.facts.gathering.sections import Sections, lines
from berth.facts.model import OperatingSystem, PackageFact

SCRIPT = r"""
if has dpkg-query; then
  part dpkg
  state='${db:Status-Want}\t${db:Status-Eflag}\t${db:Status-Status}'
  dpkg-query -W -f '${Package}\t${Version}\t${Architecture}\t'"$state"'\n'
fi
if has rpm; then
  part rpm
  rpm -qa --qf '%{NAME}\t%|EPOCH?{%{EPOCH}}:{0}|\t%{VERSION}-%{RELEASE}\t%{ARCH}\n'
  part versionlock
  cat /etc/dnf/plugins/versionlock.list /etc/yum/pluginconf.d/versionlock.list
fi
part managers; if has apt-get; then echo apt; fi; if has dnf; then echo dnf; fi
"""

_DEBIAN_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_RPM_FAMILY = {"rhel", "fedora", "centos", "rocky", "almalinux", "ol", "amzn"}
_DEBIAN_FAMILY = {"debian", "ubuntu"}
_GONE = {"not-installed", ""}


def read(found: Sections, *, os: OperatingSystem, architecture: str, kernel: str) -> dict[str, Any]:
    """The fields of this theme."""
    manager = _manager(os, set(lines(found, "managers")))
    if manager != "dnf":
        return {"package_manager": manager, "packages": _dpkg(lines(found, "dpkg"), architecture)}
    packages, newest = _rpm(lines(found, "rpm"), lines(found, "versionlock"))
    read: dict[str, Any] = {"package_manager": manager, "packages": packages}
    if newest is not None and newest != kernel:
        read["reboot_required"] = True
    return read


def _manager(os: OperatingSystem, there: set[str]) -> Literal["apt", "dnf"] | None:
    """The system's own: a Debian may have an rpm beside its apt, and the other way round."""
    family = {os.id, *os.like}
    if "dnf" in there and family & _RPM_FAMILY:
        return "dnf"
    if "apt" in there and family & _DEBIAN_FAMILY:
        return "apt"
    if "apt" in there:
        return "apt"
    return "dnf" if "dnf" in there else None


def _dpkg(rows: Iterable[str], architecture: str) -> dict[str, PackageFact]:
    """By name, with the architecture behind a colon where it is another than the machine's."""
    native = {"all", _DEBIAN_ARCHITECTURES.get(architecture, architecture)}
    packages = {}
    for row in rows:
        words = row.split("\t")
        if len(words) != 6 or words[5] in _GONE:
            continue
        name, version, arch, want, error, state = words
        key = name if arch in native else f"{name}:{arch}"
        shown = state if error in {"", "ok"} else error
        packages[key] = PackageFact.model_construct(version=version, state=shown, held=want == "hold")
    return packages


def _rpm(rows: Iterable[str], locks: Iterable[str]) -> tuple[dict[str, PackageFact], str | None]:
    """The packages, and the newest installed kernel as `uname -r` would say it.

    Of a kernel's packages there is one for each kernel: the name alone is the last installed, and
    `NAME-VERSION.ARCHITECTURE` each of them.
    """
    patterns = [line.strip() for line in locks if line.strip() and not line.lstrip().startswith("#")]
    plain = {pattern for pattern in patterns if not pattern.startswith("!")}
    packages: dict[str, PackageFact] = {}
    newest: str | None = None
    for row in rows:
        words = row.split("\t")
        if len(words) != 4:
            continue
        name, epoch, version, arch = words
        held = _locked(plain, name, epoch, version, arch)
        full = version if epoch == "0" else f"{epoch}:{version}"
        packages[name] = PackageFact(version=full, held=held)
        if name.startswith("kernel"):
            packages[f"{name}-{version}.{arch}"] = PackageFact(version=full, held=held)
        if name in {"kernel-core", "kernel"}:
            release = f"{version}.{arch}"
            newest = release if newest is None or _parts(release) > _parts(newest) else newest
    return packages, newest


def _parts(release: str) -> list[tuple[int, str]]:
    words = release.replace("-", ".").replace("_", ".").split(".")
    return [(int(word), "") if word.isdigit() else (-1, word) for word in words]


def _locked(patterns: Iterable[str], name: str, epoch: str, version: str, arch: str) -> bool:
    evr = f"{epoch}:{version}"
    words = (name, f"{name}-{version}", f"{name}-{evr}", f"{name}-{version}.{arch}", f"{name}-{evr}.{arch}")
    return any(fnmatchcase(word, pattern) for pattern in patterns for word in words)
