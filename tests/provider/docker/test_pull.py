"""What `docker pull` says, as Docker 20.10 to 28 say it."""

from __future__ import annotations

import pytest

from berth.provider.docker.pull import Pull, cure

LINES = """v0.11.0: Pulling from vllm/vllm-openai
7e49dc6156b0: Pulling fs layer
aece8493d397: Pulling fs layer
aece8493d397: Download complete
7e49dc6156b0: Pull complete
aece8493d397: Pull complete
Digest: sha256:0b51f8f6ab8b1d5bc4d3c5f6f38b2b0c3f1f2c6d
Status: Downloaded newer image for vllm/vllm-openai:v0.11.0"""


def test_the_layers_that_are_there_are_counted() -> None:
    pull = Pull()
    said = [said for line in LINES.splitlines() if (said := pull.read(line))]
    assert said == [f"pulling: {layers} layers" for layers in ("0 of 1", "0 of 2", "1 of 2", "2 of 2")]


@pytest.mark.parametrize(
    ("output", "meaning"),
    [
        (
            "Error response from daemon: manifest for vllm/vllm-openai:v9 not found: manifest unknown",
            "the registry has no such tag or digest",
        ),
        (
            "Error response from daemon: pull access denied for vlm/x, repository does not exist or may require login",
            "misspelt, or it asks for a login",
        ),
        (
            'Error response from daemon: Get "https://ghcr.io/v2/": dial tcp: lookup ghcr.io: no such host',
            "cannot be reached from this host",
        ),
        (
            'Get "https://registry-1.docker.io/v2/": net/http: request canceled (Client.Timeout exceeded)',
            "cannot be reached from this host",
        ),
        (
            'Get "https://10.0.0.7:5000/v2/": http: server gave HTTP response to HTTPS client',
            "insecure-registries",
        ),
        (
            'Get "https://mirror/v2/": failed to verify certificate: x509: certificate signed by unknown authority',
            "/etc/docker/certs.d/REGISTRY/ca.crt",
        ),
        ("write /var/lib/docker/tmp/GetImageBlob1: no space left on device", "docker image prune"),
        ("toomanyrequests: You have reached your pull rate limit.", "no more for now"),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", "kind of processor"),
        ("sh: docker: not found", "declare prerequisites.docker"),
        ("something new", "something new"),
        ("", "it said nothing"),
    ],
)
def test_a_failure_means_something_and_has_a_cure(output: str, meaning: str) -> None:
    said = cure(output)
    assert meaning in said
    assert output.strip().splitlines()[-1:] == [] or output.strip().splitlines()[-1] in said
