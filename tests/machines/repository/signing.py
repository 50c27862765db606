"""Keys that sign repositories, each in a keyring of its own that nobody else's gpg sees."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.machines.engine import install


@dataclass(frozen=True)
class Key:
    """A key; `home` is its keyring."""

    home: Path
    fingerprint: str

    @classmethod
    def make(cls, home: Path, owner: str) -> Key:
        """A new one; RSA, which every version of apt and rpm takes."""
        install({"gpg": "gnupg"})
        home.mkdir(parents=True, mode=0o700)
        made = cls(home, "")
        made._gpg("--passphrase", "", "--quick-generate-key", f"STAND-IN {owner}", "rsa2048", "sign", "never")
        listed = made._gpg("--with-colons", "--list-keys").decode()
        return cls(home, next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:")))

    def public(self) -> bytes:
        """As users are told to download it: ASCII-armored."""
        return self._gpg("--armor", "--export")

    def clearsign(self, text: str, into: Path) -> None:
        """Writes a signed text."""
        into.write_bytes(self._gpg("--clearsign", "--digest-algo", "SHA256", data=text.encode()))

    def sign(self, file: Path) -> None:
        """Writes a signature beside a file, as `NAME.asc`."""
        self._gpg("--armor", "--detach-sign", "--digest-algo", "SHA256", "--yes", str(file))

    def end(self) -> None:
        """Ends the agent that gpg started for this keyring."""
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], capture_output=True, check=False)

    def _gpg(self, *arguments: str, data: bytes | None = None) -> bytes:
        argv = ["gpg", "--homedir", str(self.home), "--batch", "--pinentry-mode", "loopback", *arguments]
        return subprocess.run(argv, input=data, check=True, capture_output=True).stdout
