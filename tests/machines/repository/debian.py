"""Debian packages and signed apt repositories, made of packages as data."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.machines.engine import install
from tests.machines.repository.package import Package
from tests.machines.repository.signing import Key


def write_package(package: Package, folder: Path) -> None:
    """Writes `NAME_VERSION_amd64.deb`."""
    install({"dpkg-deb": "dpkg"})
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        root.chmod(0o755)
        for path, content in package.files.items():
            file = root / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.data)
            file.chmod(content.mode)
        for path, target in package.links.items():
            (root / path.lstrip("/")).symlink_to(target)
        control = root / "DEBIAN"
        control.mkdir()
        (control / "control").write_text(_control(package))
        (control / "conffiles").write_text("".join(f"{path}\n" for path in package.configuration))
        for name, script in (
            ("postinst", _only("configure", package.after_install)),
            ("prerm", _only("remove|upgrade", package.before_removal)),
            ("postrm", _only("remove|purge", package.after_removal)),
        ):
            if script:
                (control / name).write_text(script)
                (control / name).chmod(0o755)
        pack(root, folder / f"{package.name}_{package.version.replace(':', '%3a')}_amd64.deb")


def pack(root: Path, archive: Path) -> None:
    """Makes a package of an unpacked one."""
    argv = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(root), str(archive)]
    subprocess.run(argv, check=True, capture_output=True)


def write_index(folder: Path, key: Key, *, label: str, suite: str = "") -> None:
    """Makes a signed repository of the packages below a folder.

    Flat without a suite, as NVIDIA's are (`deb … /`); with one, its component is `stable`, as Docker's.
    """
    place = folder / "dists" / suite if suite else folder
    listed = place / "stable/binary-amd64" if suite else folder
    listed.mkdir(parents=True, exist_ok=True)
    (listed / "Packages").write_text("\n".join(_stanzas(folder)))
    index = str((listed / "Packages").relative_to(place))
    data = (place / index).read_bytes()
    said = {
        "Origin": label,
        "Label": label,
        **({"Suite": suite, "Codename": suite, "Components": "stable"} if suite else {}),
        "Architectures": "amd64",
        "Date": "Sat, 01 Nov 2025 00:00:00 UTC",
        "MD5Sum": f"\n {hashlib.md5(data).hexdigest()} {len(data)} {index}",  # noqa: S324 -- apt reads it, none trusts it
        "SHA256": f"\n {hashlib.sha256(data).hexdigest()} {len(data)} {index}",
    }
    key.clearsign("".join(f"{name}: {value}\n" for name, value in said.items()), place / "InRelease")


def _stanzas(folder: Path) -> Iterable[str]:
    for archive in sorted(folder.rglob("*.deb")):
        argv = ["dpkg-deb", "--field", str(archive)]
        control = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
        data = archive.read_bytes()
        yield (
            f"{control}\nFilename: {'' if (folder / 'dists').exists() else './'}{archive.relative_to(folder)}\n"
            f"Size: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
        )


def _control(package: Package) -> str:
    said = {
        "Package": package.name,
        "Version": package.version,
        "Architecture": "amd64",
        "Maintainer": "Berth's tests <nobody@example.invalid>",
        "Section": "misc",
        "Priority": "optional",
        "Depends": ", ".join(package.depends),
        "Provides": ", ".join(package.provides),
        "Conflicts": ", ".join(package.conflicts),
        "Replaces": ", ".join(package.conflicts),
        "Description": f"STAND-IN: {package.summary}",
    }
    return "".join(f"{name}: {value}\n" for name, value in said.items() if value)


def _only(when: str, script: str) -> str:
    return f'#!/bin/sh\nset -e\ncase "$1" in {when}) ;; *) exit 0 ;; esac\n{script}' if script else ""
