"""The certificate of the gateway's door (SDS): Envoy reads it anew when the link to it is turned and breaks nothing."""

from __future__ import annotations

from berth.gateway.names import CERTIFICATE_FILE, CERTIFICATE_NAME, KEY_FILE, SECRETS_FILE
from berth.gateway.xds import Json, response, typed

_SECRET = "envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105 - the name of a message


def secrets(folder: str) -> Json:
    """The content of the secrets file: where certificate and key lie in the gateway's folder, never what they hold.

    Both lie in one folder behind the link `tls/current`, so that they change in one move.
    """
    watched = f"{folder}/{SECRETS_FILE}".rpartition("/")[0]
    return response(
        [
            typed(
                _SECRET,
                name=CERTIFICATE_NAME,
                tls_certificate={
                    "certificate_chain": {"filename": f"{folder}/{CERTIFICATE_FILE}"},
                    "private_key": {"filename": f"{folder}/{KEY_FILE}"},
                    "watched_directory": {"path": watched},
                },
            ),
        ],
    )
