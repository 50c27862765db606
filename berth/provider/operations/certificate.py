"""The certificate of a gateway: copied from files on its host, or self-signed for a start.

A self-signed one is made here and travels to the host through standard input, since a small host may have nothing that
could make one. Its key is nowhere else: not in Pulumi's state, not in an argument, not on this machine's disk.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ipaddress
import json
from collections.abc import Sequence
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from berth.gateway.names import SECRETS_FILE
from berth.gateway.tls import secrets
from berth.provider.command import Command, put, shell
from berth.provider.errors import BadInput
from berth.provider.host import Host
from berth.provider.operation import Operation, Want

_VALID = dt.timedelta(days=365)
_RENEW = dt.timedelta(days=30)
"""So long before its end a self-signed certificate is made anew, at the next update."""

_LOOK = """
tls=$1
if [ ! -f "$tls/current/certificate.pem" ]; then exit 4; fi
base64 < "$tls/current/certificate.pem" | tr -d '\n'
echo
stat -c %a -- "$tls/current/key.pem" 2> /dev/null || echo missing
base64 < "$tls/secrets.json" 2> /dev/null | tr -d '\n'
echo
if [ -z "$2" ]; then echo same; exit 0; fi
if cmp -s -- "$2" "$tls/current/certificate.pem" && cmp -s -- "$3" "$tls/current/key.pem"; then echo same; exit 0; fi
echo other
"""

_UNREADABLE = """
for file in "$@"; do
  if [ ! -f "$file" ] || [ ! -r "$file" ]; then echo "$file"; fi
done
"""

_COPY = """
tls=$1 name=$(cat -- "$2" "$3" | sha256sum | cut -c1-16)
umask 077
mkdir -p -- "$tls/$name"
cat -- "$2" > "$tls/$name/certificate.pem"
cat -- "$3" > "$tls/$name/key.pem"
printf '%s' "$name"
"""

_SWAP = """
tls=$1 name=$2
old=$(readlink -- "$tls/current" || :)
rm -f -- "$tls/.$name"
ln -s -- "$name" "$tls/.$name"
mv -fT -- "$tls/.$name" "$tls/current"
if [ -n "$old" ] && [ "$old" != "$name" ]; then rm -rf -- "${tls:?}/$old"; fi
"""


class CertificateWant(Want):
    """The certificate of the gateway in `folder`.

    `certificate` and `key` are files on the host, both empty for a self-signed certificate of `names`. `state` is there
    to be observed: `expiring` within 30 days, `replaced` when the files are no longer those that were copied.
    """

    folder: str
    names: list[str] = []
    certificate: str = ""
    key: str = ""
    state: Literal["valid", "expiring", "replaced", "damaged"] = "valid"


class Certificate(Operation[CertificateWant]):
    """Declares the certificate of a gateway. It is kept until it ends, and a replaced one breaks no connection."""

    kind = "berth:gateway:Certificate"
    wants = CertificateWant
    replace = frozenset({"host", "folder"})

    def identity(self, want: CertificateWant) -> str:
        """The gateway's folder on its host."""
        return f"{want.host}:{want.folder}/tls"

    def output_names(self) -> Sequence[str]:
        """See `outputs`."""
        return ("expires",)

    async def outputs(self, host: Host, want: CertificateWant) -> dict[str, Any]:
        """When it ends, as a date."""
        seen = await self._look(host.quietly(), want)
        return {"expires": "" if seen is None else f"{seen[0].not_valid_after_utc:%Y-%m-%d}"}

    async def observe(self, host: Host, want: CertificateWant) -> CertificateWant | None:
        """Reads the certificate, and of the key only who may read it."""
        seen = await self._look(host, want)
        if seen is None:
            return None
        certificate, mode, content, same = seen
        left = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
        found: dict[str, Any] = {"state": "valid"}
        if not want.certificate:
            names = _names_of(certificate)
            found["names"] = want.names if set(names) == set(want.names) else names
            found["state"] = "expiring" if left < _RENEW else "valid"
        if same != "same":
            found["state"] = "replaced"
        if mode != "600" or content != secrets(want.folder):
            found["state"] = "damaged"
        if want.certificate and left < _RENEW:
            host.say(f"gateway.tls: {want.certificate} ends in {left.days} days; put a new one there")
        return want.model_copy(update=found)

    def steps(self, want: CertificateWant | None, have: CertificateWant | None) -> Sequence[Command]:
        """What needs no new key: removing, and telling Envoy where the files lie."""
        if want is None:
            script = 'rm -rf -- "$1/tls"'
            return [] if have is None else [shell(script, have.folder, says="removing the gateway's certificate")]
        content = json.dumps(secrets(want.folder), indent=1)
        return [put(f"{want.folder}/{SECRETS_FILE}", content, mode="0600", says="telling the gateway its certificate")]

    async def preflight(self, host: Host, want: CertificateWant) -> None:
        """Files that are not there, or not for the login to read."""
        if not want.certificate:
            return
        look = shell(_UNREADABLE, want.certificate, want.key, says="looking at the certificate")
        if unreadable := (await host.run(look)).stdout.split("\n")[:-1]:
            files = " and ".join(unreadable)
            raise BadInput(
                f"gateway.tls: {files} on {host.name}: no file that its login can read, must be one; "
                "give the path on that host, and the right to read it"
            )

    async def apply(self, host: Host, want: CertificateWant | None, have: CertificateWant | None) -> None:
        """Puts certificate and key into a folder of their own, then turns the link to it."""
        if want is None:
            await super().apply(host, None, have)
            return
        tls = f"{want.folder}/tls"
        if want.certificate:
            copy = shell(_COPY, tls, want.certificate, want.key, says="copying the gateway's certificate")
            name = (await host.run(copy)).stdout
        else:
            certificate, key = self_signed(want.names)
            name = hashlib.sha256(certificate + key).hexdigest()[:16]
            says = f"making a certificate for {', '.join(want.names)}"
            await host.run(put(f"{tls}/{name}/key.pem", key, mode="0600", says=says))
            await host.run(put(f"{tls}/{name}/certificate.pem", certificate, mode="0600", says=says))
        for command in self.steps(want, have):
            await host.run(command)
        await host.run(shell(_SWAP, tls, name, says="turning to the gateway's certificate"))

    async def _look(self, host: Host, want: CertificateWant) -> tuple[x509.Certificate, str, Any, str] | None:
        arguments = (f"{want.folder}/tls", want.certificate, want.key)
        look = shell(_LOOK, *arguments, says="looking at the gateway's certificate", ok=frozenset({0, 4}))
        result = await host.run(look)
        if result.status == 4:
            return None
        encoded, mode, content, same = result.stdout.split("\n")[:4]
        try:
            certificate = x509.load_pem_x509_certificate(base64.b64decode(encoded))
            told = json.loads(base64.b64decode(content) or b"null")
        except ValueError:
            return None
        return certificate, mode, told, same


def self_signed(names: Sequence[str]) -> tuple[bytes, bytes]:
    """A new certificate for names and addresses, and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "berth gateway")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))  # clocks of clients differ
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
        # Clients that are told to trust it take it for its own authority.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names_of(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names]
