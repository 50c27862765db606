"""Keys are known by their fingerprints, and only the one that is meant is kept of a text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pysequoia import Cert, Profile, Tsk

from berth.provider.packaging.openpgp import UntrustedKey, fingerprints, only

OLD = Tsk.generate("version 4").extract_certificate()
NEW = Tsk.generate("version 6", profile=Profile.RFC9580).extract_certificate()


def mark(cert: Cert) -> str:
    return cert.fingerprint.upper()


@pytest.mark.parametrize("cert", [OLD, NEW], ids=["version 4", "version 6"])
def test_a_key_is_found_armoured_and_binary_and_others_beside_it_are_left_out(cert: Cert) -> None:
    for data in (str(cert).encode(), bytes(cert), bytes(OLD) + bytes(NEW), f"{OLD}\n{NEW}".encode()):
        assert fingerprints(only(data, mark(cert))) == [mark(cert)]


def test_a_secret_key_leaves_only_its_public_half() -> None:
    secret = Tsk.generate("a publisher that slipped")
    kept = only(str(secret).encode(), mark(secret.extract_certificate()))
    assert kept.startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----")
    assert "PRIVATE" not in kept


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"", "holds no key, must hold A", id="nothing"),
        pytest.param(b"<html>404</html>", "holds no OpenPGP key", id="a page"),
        pytest.param(bytes(OLD)[:60], "holds no OpenPGP key", id="half a key"),
        pytest.param(str(OLD).encode(), f"holds {mark(OLD)}, must hold A", id="another key"),
        pytest.param(bytes(OLD) + bytes(NEW), " and ", id="two other keys"),
    ],
)
def test_what_is_not_the_key_is_said_in_one_line(data: bytes, said: str) -> None:
    with pytest.raises(UntrustedKey) as caught:
        only(data, "A" * 40)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_revoked_and_an_expired_key_are_refused() -> None:
    secret = Tsk.generate("a publisher that gave up")
    cert = secret.extract_certificate()
    revoked = cert.merge(Cert.from_bytes(bytes(cert) + bytes(cert.revoke(secret.certifier()))))
    with pytest.raises(UntrustedKey, match="which its owner has revoked"):
        only(bytes(revoked), mark(cert))
    expired = cert.set_expiration(datetime.now(UTC) - timedelta(seconds=5), secret.certifier())
    with pytest.raises(UntrustedKey, match=r"which expired on [0-9-]+, must hold a newer edition"):
        only(bytes(expired), mark(cert))


def test_what_is_no_text_of_a_key_has_no_fingerprint() -> None:
    assert fingerprints("") == fingerprints("not a key") == []
    assert fingerprints(f"{OLD}{NEW}") == [mark(OLD), mark(NEW)]
