"""One static file for `envoy --mode validate`, which does not look into the files that a bootstrap points to."""

from __future__ import annotations

import copy
from typing import Any

from berth.gateway.keys import with_keys, without_keys
from berth.gateway.names import CERTIFICATE_FILE, KEY_FILE, LOOPBACK, ROUTES_NAME, SECRETS_FILE
from berth.gateway.xds import Json, socket_address


def flat_bootstrap(bootstrap: Json, listeners: Json, routes: Json, clusters: Json) -> Json:
    """The same configuration with everything inline and stand-ins for the keys; it is validated and never served."""
    flat = copy.deepcopy(bootstrap)
    flat.pop("dynamic_resources", None)
    static = flat.setdefault("static_resources", {})
    static["listeners"] = [_listener(listener, _with_dummies(routes)) for listener in listeners["resources"]]
    static["clusters"] = [*static.get("clusters", []), *(_cluster(cluster) for cluster in clusters["resources"])]
    return flat


def _with_dummies(routes: Json) -> Json:
    plain, names = without_keys(routes)
    filled = with_keys(plain, {name: f"stand-in-{number}" for number, name in enumerate(names)})
    table: Json = _inline(filled["resources"][0])
    return table


def _listener(listener: Json, table: Json) -> Json:
    inline: Json = _inline(listener)
    for chain in inline["filter_chains"]:
        for network_filter in chain["filters"]:
            manager = network_filter["typed_config"]
            source = manager.pop("rds", None)
            if source is not None:
                is_door = source["route_config_name"] == ROUTES_NAME
                manager["route_config"] = table if is_door else {"name": source["route_config_name"]}
        if "transport_socket" in chain:
            _with_certificate(chain["transport_socket"]["typed_config"]["common_tls_context"])
    return inline


def _with_certificate(context: Json) -> None:
    """The certificate's files themselves, so that Envoy reads whether key and certificate belong together."""
    secrets = context.pop("tls_certificate_sds_secret_configs")[0]["sds_config"]["path_config_source"]["path"]
    folder = secrets.removesuffix(f"/{SECRETS_FILE}")
    context["tls_certificates"] = [
        {
            "certificate_chain": {"filename": f"{folder}/{CERTIFICATE_FILE}"},
            "private_key": {"filename": f"{folder}/{KEY_FILE}"},
        },
    ]


def _cluster(cluster: Json) -> Json:
    inline: Json = _inline(cluster)
    inline.pop("eds_cluster_config")
    endpoint = {"endpoint": {"address": socket_address(LOOPBACK, 1)}}
    inline["type"] = "STATIC"
    inline["load_assignment"] = {"cluster_name": inline["name"], "endpoints": [{"lb_endpoints": [endpoint]}]}
    return inline


def _inline(resource: Json) -> Any:
    """A resource as it stands inside another message: without the type that a discovery response needs."""
    return {key: value for key, value in copy.deepcopy(resource).items() if key != "@type"}
