"""The names that the parts of the gateway share: files, clusters, headers, metadata and the OpenAI paths."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from berth.planner.plan import ModelRoute, revision_name

BOOTSTRAP_FILE: Final = "bootstrap.json"
LISTENERS_FILE: Final = "listeners.json"
ROUTES_FILE: Final = "routes.json"
CLUSTERS_FILE: Final = "clusters.json"
ENDPOINTS_FOLDER: Final = "endpoints"
SERVED_LISTENERS_FILE: Final = "serving/listeners.json"
"""What Envoy reads of the listeners: copied from `LISTENERS_FILE` at each start, emptied when it is to end."""
STATUS_FILE: Final = "status.json"
"""The routes of the metrics listener: written once, then by the watcher, who knows which engines are up."""
SECRETS_FILE: Final = "tls/secrets.json"
CERTIFICATE_FILE: Final = "tls/current/certificate.pem"
KEY_FILE: Final = "tls/current/key.pem"
START_FILE: Final = "start.sh"

LOOPBACK: Final = "127.0.0.1"
ADMIN_CLUSTER: Final = "berth-admin"
NOWHERE_CLUSTER: Final = "berth-nowhere"
STATUS_CLUSTER: Final = "berth-status"
STAT_PREFIX: Final = "gateway"
ROUTES_NAME: Final = "gateway"
METRICS_NAME: Final = "metrics"
CERTIFICATE_NAME: Final = "door"

CLIENT_HEADER: Final = "x-client-id"
"""Carries the name of the key to the engine and to the access log; what a client sends under this name is dropped."""

REVISION_HEADER: Final = "x-berth-revision"
"""Asks for one revision of a model, also for one without traffic; with several a client can compare them."""
SERVED_BY_HEADER: Final = "x-served-by"
"""Says in an answer which revision gave it, `<model>@<revision>`."""

CONFIGURATION_HEADER: Final = "x-berth-configuration"
"""Says in each answer of a gateway on a cluster which configuration it has: nobody else could tell from outside."""

LIMIT_HEADER: Final = "x-ratelimit-limit-requests"
"""Says in a refusal how many requests a minute a client may send; the name is OpenAI's."""

BODY_NAMESPACE: Final = "berth.body"
"""Dynamic metadata of what was read from the body: `read` always, then `model`, or `problem` with this value."""
PROBLEM_UNREADABLE: Final = "unreadable"

ROUTE_NAMESPACE: Final = "berth.route"
"""Metadata of a route: `model`, the served model's own name whatever alias the client used; `full` and `code`, what is
said when its cluster takes no more requests; `shares`, the percent of each of the model's revisions."""

JSON_TYPE: Final = r"(?i)application/(?:[a-z0-9.-]+\+)?json(?:\s*;.*)?"
"""The values of Content-Type whose body is read for its model; a regular expression (RE2)."""

API_KEY_AUTH: Final = "envoy.filters.http.api_key_auth"
JSON_TO_METADATA: Final = "envoy.filters.http.json_to_metadata"
CLIENT_KNOWN: Final = "berth.client_known"
"""A filter that lets the routes be tried again once the client is known; on where routes ask for the client."""
LIMITS: Final = "berth.limits"
"""The filter that counts the requests of each client."""

# What OpenAI's clients, and the two common extensions of the engines (rerank and score), call with a model in a JSON
# body. A list and not `/v1/*`: below /v1 the engines also have paths that load adapters from the server's disk.
BODY_PATHS: Final = (
    "chat/completions",
    "completions",
    "embeddings",
    "responses",
    "messages",
    "messages/count_tokens",
    "moderations",
    "rerank",
    "score",
)
# The model of these stands in a multipart form, which no built-in filter reads: reachable by the path of the model.
FORM_PATHS: Final = ("audio/transcriptions", "audio/translations")


def cluster_name(model: str, revision: str) -> str:
    """The cluster of one revision: what clients call it."""
    return revision_name(model, revision)


def client_cluster(cluster: str, client: str) -> str:
    """The cluster of one revision for a client whose requests are counted, `<model>@<revision>+<client>`.

    Neither names of clients nor of revisions hold a plus.
    """
    return f"{cluster}+{client}"


def endpoints_file(cluster: str) -> str:
    """The endpoints file of a cluster, relative to the gateway's folder; a slash in a model's name is escaped."""
    return f"{ENDPOINTS_FOLDER}/{quote(cluster, safe='@:+,=')}.json"


def served_names(route: ModelRoute) -> tuple[str, ...]:
    """Every name under which clients reach the model, its own first, each once."""
    return tuple(dict.fromkeys((route.name, *route.aliases)))


def alternatives(texts: tuple[str, ...]) -> str:
    """A regular expression (RE2) that matches any of the texts, in a group that captures nothing."""
    return f"(?:{'|'.join(re.escape(text) for text in texts)})"


def name_in_path(name: str) -> str:
    """A regular expression (RE2) for a name in a path, each reserved character as itself or percent-encoded.

    Clients differ: some send `org/name`, others `org%2Fname`.
    """
    return "".join(_character_in_path(character) for character in name)


def _character_in_path(character: str) -> str:
    encoded = quote(character, safe="")
    if encoded == character:
        return re.escape(character)
    return f"(?:{re.escape(character)}|(?i:{encoded}))"
