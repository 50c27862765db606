"""A small signed package repository on a test machine, served there over HTTP as a publisher would."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime

from pysequoia import SignatureMode, Tsk, sign

from tests.machines.machine import Machine

PORT = 9981
"""On the machine's own loopback, where nothing else listens."""

_SERVE = """
mkdir -p /srv/published
if ! systemctl is-active --quiet berth-test-published; then
  systemd-run --quiet --unit berth-test-published \
    python3 -m http.server --bind 127.0.0.1 --directory /srv/published "$1"
fi
until curl -fs "http://127.0.0.1:$1/" > /dev/null; do sleep 0.05; done
"""

_BUILD = """
mkdir -p "$1"; cd "$1"
build=$(mktemp -d)
mkdir "$build/DEBIAN"
cat > "$build/DEBIAN/control"
if [ -n "$3" ]; then printf '%s\\n' '#!/bin/sh' "$3" > "$build/DEBIAN/postinst"; chmod 0755 "$build/DEBIAN/postinst"; fi
dpkg-deb -Zgzip --root-owner-group --build "$build" "$2" > /dev/null
rm -r "$build"
"""

_INDEX = """
cd "$1"
for file in *.deb; do
  dpkg-deb --field "$file"
  echo "Filename: ./$file"
  echo "Size: $(stat -c %s "$file")"
  echo "SHA256: $(sha256sum "$file" | cut -d ' ' -f 1)"
  echo
done
"""


@dataclass(frozen=True)
class Package:
    """A package with nothing in it; `more` are further lines of its control file, `script` runs after unpacking."""

    name: str
    version: str
    more: Sequence[str] = ()
    script: str = ""

    def control(self) -> str:
        """The control file."""
        lines = [f"Package: {self.name}", f"Version: {self.version}", "Architecture: all", *self.more]
        return "\n".join([*lines, "Maintainer: tests <tests@example.org>", "Description: made for a test", ""])


@dataclass
class Published:
    """A flat repository in a folder of the machine's web server; each has a key of its own."""

    machine: Machine
    name: str
    key: Tsk = field(default_factory=lambda: Tsk.generate("a publisher of packages"))

    def __post_init__(self) -> None:
        self._run(_SERVE, str(PORT))

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{PORT}/{self.name}/"

    @property
    def armoured(self) -> str:
        """The public key."""
        return str(self.key.extract_certificate())

    @property
    def fingerprint(self) -> str:
        return self.key.extract_certificate().fingerprint.upper()

    def publish(self, *packages: Package, at: datetime | None = None, label: str = "tests") -> None:
        """Puts packages beside those that are there, and signs all of it (`at` a time) under a label."""
        for package in packages:
            file = f"{package.name}_{package.version.replace(':', '-')}_all.deb"
            self._run(_BUILD, self._folder, file, package.script, stdin=package.control())
        index = self._run(_INDEX, self._folder).encode()
        digest = f" {hashlib.sha256(index).hexdigest()} {len(index)} Packages"
        date = format_datetime(at or datetime.now(UTC), usegmt=True)
        release = f"Origin: tests\nLabel: {label}\nDate: {date}\nSHA256:\n{digest}\n".encode()
        self.put("Packages", index)
        self.put("InRelease", sign(self.key.signer(), release, mode=SignatureMode.CLEAR))
        self.put("key.asc", self.armoured.encode())

    def put(self, file: str, content: bytes) -> None:
        """Writes a file of it by hand."""
        self._run('mkdir -p "$1"; cat > "$1/$2"', self._folder, file, stdin=content)

    @property
    def _folder(self) -> str:
        return f"/srv/published/{self.name}"

    def _run(self, script: str, *arguments: str, stdin: str | bytes | None = None) -> str:
        ran = self.machine.run(["sh", "-euc", script, "publish", *arguments], stdin)
        assert ran.code == 0, ran.err
        return ran.out
