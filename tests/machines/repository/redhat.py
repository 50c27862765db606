"""RPM packages and signed dnf repositories, made of packages as data in a machine that has the tools."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.machines.engine import Engine, Unavailable
from tests.machines.image import BUILD_S
from tests.machines.repository.package import Package
from tests.machines.repository.signing import Key

_BUILD = """
cd /build/packages
for package in *; do
  mkdir -p "/build/served/$(cat "$package/repository")"
  rpmbuild -bb --quiet --define '_topdir /tmp/rpmbuild' --define "_rpmdir /build/served/$(cat "$package/repository")" \\
    --define '_rpmfilename %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm' "$package/spec" > /tmp/log 2>&1 \\
    || { cat /tmp/log >&2; exit 1; }
done
for repository in $REPOSITORIES; do
  cp -r "/build/keys/${repository%%/*}" /tmp/gnupg
  chmod 700 /tmp/gnupg
  rpmsign --define '_gpg_path /tmp/gnupg' --define '_gpg_name STAND-IN' --define '__gpg /usr/bin/gpg' --addsign \\
    "/build/served/$repository"/*.rpm > /tmp/log 2>&1 || { cat /tmp/log >&2; exit 1; }
  rm -rf /tmp/gnupg
  createrepo_c --quiet --no-database "/build/served/$repository"
  if [ -e "/build/modules/${repository%%/*}.yaml" ]; then
    modifyrepo_c --mdtype=modules "/build/modules/${repository%%/*}.yaml" \\
      "/build/served/$repository/repodata" > /dev/null
  fi
done
"""


class Repository(NamedTuple):
    """What a repository holds, and what signs it; `modules` describes its module streams."""

    packages: Sequence[Package]
    key: Key
    modules: str = ""


def write_repositories(engine: Engine, image: str, work: Path, repositories: Mapping[str, Repository]) -> None:
    """Makes signed repositories below `work`/served, each in its folder.

    Raises:
        Unavailable: the tools fail.
    """
    (work / "modules").mkdir(parents=True)
    for folder, repository in repositories.items():
        vendor = folder.split("/", 1)[0]
        for package in repository.packages:
            _write_source(package, work, folder)
        _copy_key(repository.key, work / "keys" / vendor)
        if repository.modules:
            (work / "modules" / f"{vendor}.yaml").write_text(repository.modules)
    argv = ["run", "--rm", "--volume", f"{work}:/build", "--env", f"REPOSITORIES={' '.join(repositories)}"]
    done = engine.run(*argv, image, "sh", "-euc", _BUILD, timeout_s=BUILD_S)
    if done.returncode != 0:
        raise Unavailable(f"RPM packages cannot be made: {done.stderr.decode(errors='replace')[-2000:]}")
    for folder, repository in repositories.items():
        repository.key.sign(work / "served" / folder / "repodata/repomd.xml")


def version_of(full: str) -> tuple[str, str, str]:
    """Epoch, version and release."""
    epoch, _, rest = full.rpartition(":")
    version, _, release = rest.partition("-")
    return epoch, version, release


def _copy_key(key: Key, into: Path) -> None:
    into.mkdir(parents=True)
    for name in ("pubring.kbx", "trustdb.gpg", "private-keys-v1.d"):
        source = key.home / name
        if source.is_dir():
            shutil.copytree(source, into / name)
        else:
            shutil.copy(source, into / name)


def _write_source(package: Package, work: Path, repository: str) -> None:
    _, version, release = version_of(package.version)
    folder = work / "packages" / f"{package.name}-{version}-{release}"
    for path, content in package.files.items():
        file = folder / "root" / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.data)
        file.chmod(content.mode)
    for path, target in package.links.items():
        link = folder / "root" / path.lstrip("/")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "repository").write_text(repository)
    (folder / "spec").write_text("\n".join(_spec(package, f"/build/packages/{folder.name}/root")))


def _spec(package: Package, root: str) -> Iterable[str]:
    epoch, version, release = version_of(package.version)
    yield from ("%global debug_package %{nil}", "%define __os_install_post %{nil}", "%define _build_id_links none")
    yield from ("%define _binary_payload w1.gzdio", f"Name: {package.name}", f"Version: {version}")
    yield from (f"Release: {release}", "License: none", "AutoReqProv: no", f"Summary: STAND-IN: {package.summary}")
    if epoch:
        yield f"Epoch: {epoch}"
    for word, names in (
        ("Requires", package.depends),
        ("Provides", package.provides),
        ("Conflicts", package.conflicts),
    ):
        yield from (f"{word}: {_relation(name)}" for name in names)
    yield f"%description\nSTAND-IN: {package.summary}"
    if package.files or package.links:
        yield f"%install\ncp -a {root}/. %{{buildroot}}/"
    when = 'if [ "$1" = 0 ]; then set -- remove; else set -- upgrade; fi'
    if package.after_install:
        yield f"%post\n{package.after_install}"
    if package.before_removal:
        yield f"%preun\n{when}\n{package.before_removal}"
    if package.after_removal:
        yield f"%postun\n{when}\n{package.after_removal}"
    yield "%files"
    for path in (*package.files, *package.links):
        yield f'{"%config(noreplace) " if path in package.configuration else ""}"{path}"'


def _relation(text: str) -> str:
    """Debian's `name (= 1)` as RPM writes it."""
    found = re.fullmatch(r"(\S+) \((=|>=|<<) (\S+)\)", text)
    return text if found is None else f"{found[1]} {found[2].replace('<<', '<')} {found[3]}"
