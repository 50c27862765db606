"""What `docker pull` says, read: how far it is, and why it failed."""

from __future__ import annotations

import re

_LAYER = re.compile(r"^([0-9a-f]{12}): (.+)$")
_HERE = ("Already exists", "Pull complete")

_CURES = (
    (
        r"manifest unknown|manifest for .* not found|not found: manifest",
        "the registry has no such tag or digest; look which it has, and name that one as the image",
    ),
    (
        r"pull access denied|repository does not exist|denied:|unauthorized|authentication required",
        (
            "the registry does not give it to this host: the name is misspelt, or it asks for a login; "
            "run `docker login` there as the user that Berth logs in as, with sudo where Docker asks that user for it"
        ),
    ),
    (
        r"server gave HTTP response to HTTPS client",
        (
            "the registry speaks plain HTTP; name it in prerequisites.docker.settings.insecure-registries of that "
            "host, or give it a certificate"
        ),
    ),
    (
        r"x509: ",
        (
            "Docker there does not trust the registry's certificate; put that of who signed it into "
            "/etc/docker/certs.d/REGISTRY/ca.crt there"
        ),
    ),
    (
        r"no such host|dial tcp|i/o timeout|connection refused|Client\.Timeout|TLS handshake|EOF$|proxyconnect",
        (
            "the registry cannot be reached from this host; check its network and proxy, or load the image there by "
            "hand (`docker load`), which is used as it is"
        ),
    ),
    (r"no space left on device", "the disk of Docker's folder is full; `docker image prune` makes room"),
    (r"toomanyrequests|rate limit", "the registry gives this address no more for now; log in there, or wait"),
    (r"no matching manifest for", "the image is not made for this host's kind of processor; name another"),
    (
        r"Cannot connect to the Docker daemon|docker: not found",
        "Docker does not run there; declare prerequisites.docker",
    ),
    (r"invalid reference format", "this is no name of an image; write it as registry/name:tag or name@sha256:..."),
)


class Pull:
    """How far one pull is, by its layers."""

    def __init__(self) -> None:
        self._layers: dict[str, str] = {}
        self._said = ""

    def read(self, line: str) -> str:
        """A status for people after a line of output; empty when it says nothing new."""
        found = _LAYER.match(line.strip())
        if found is None:
            return ""
        self._layers[found[1]] = found[2]
        here = sum(state.startswith(_HERE) for state in self._layers.values())
        before, self._said = self._said, f"pulling: {here} of {len(self._layers)} layers"
        return self._said if self._said != before else ""


def cure(output: str) -> str:
    """What a failed pull means and what to do; its own last line where nothing is known of it."""
    last = (output.strip().splitlines() or ["it said nothing"])[-1]
    for pattern, meaning in _CURES:
        if re.search(pattern, output, re.IGNORECASE):
            return f"{meaning} ({last})"
    return last
