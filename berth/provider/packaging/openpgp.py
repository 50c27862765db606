"""The keys that repositories are signed with, known by their fingerprints before anything trusts them."""

from __future__ import annotations

from datetime import UTC, datetime


class UntrustedKey(ValueError):
    """A text does not hold the key that is meant; the message says what it holds."""


def fingerprints(text: str) -> list[str]:
    """The fingerprints of all keys in an armoured text, in capitals; empty where it holds none that can be read."""
    from pysequoia import Cert  # noqa: PLC0415 -- a native library that only few updates need

    try:
        return [cert.fingerprint.upper() for cert in Cert.split_bytes(text.encode())]
    except Exception:  # noqa: BLE001 -- the library raises Exception itself
        return []


def only(data: bytes, fingerprint: str) -> str:
    """The one key of that fingerprint, armoured; whatever else `data` holds (armoured or binary) is left out.

    Raises:
        UntrustedKey: `data` does not hold it, or it is revoked or has expired.
    """
    from pysequoia import Cert  # noqa: PLC0415 -- a native library that only few updates need

    try:
        certs = Cert.split_bytes(data)
    except Exception as error:  # noqa: BLE001 -- the library raises Exception itself, with a trace of its own below
        reason = str(error).partition("\n")[0]
        raise UntrustedKey(f"holds no OpenPGP key ({reason}), must hold {fingerprint}") from None
    found = {cert.fingerprint.upper(): cert for cert in certs}
    if fingerprint not in found:
        held = " and ".join(sorted(found)) or "no key"
        raise UntrustedKey(f"holds {held}, must hold {fingerprint}")
    key = found[fingerprint]
    if key.is_revoked:
        raise UntrustedKey(f"holds {fingerprint}, which its owner has revoked, must hold one that is good")
    if key.expiration is not None and key.expiration < datetime.now(UTC):
        raise UntrustedKey(
            f"holds {fingerprint}, which expired on {key.expiration:%Y-%m-%d}, must hold a newer edition"
        )
    return str(key)
