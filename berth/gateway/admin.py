"""What Envoy's admin interface says about the files that were written: taken over, still waiting, or rejected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from berth.gateway.clusters import stat_name
from berth.gateway.endpoints import DEAD_PORT
from berth.gateway.names import ROUTES_NAME, STAT_PREFIX
from berth.gateway.xds import Json

CONFIG_DUMP_PATH: Final = "/config_dump"
STATS_PATH: Final = "/stats?format=json"
CLUSTERS_PATH: Final = "/clusters?format=json"

_LISTENERS_STAT = "listener_manager.lds"
_CLUSTERS_STAT = "cluster_manager.cds"
_ROUTES_STAT = f"http.{STAT_PREFIX}.rds.{ROUTES_NAME}"
_UNHEALTHY = ("failed_active_health_check", "failed_outlier_check", "pending_dynamic_removal")


@dataclass(frozen=True, kw_only=True)
class Published:
    """Whether the wanted versions are in use: `waiting` says what is not yet, `rejected` which file Envoy refused."""

    waiting: tuple[str, ...]
    rejected: tuple[str, ...]

    @property
    def active(self) -> bool:
        """Everything wanted is in use."""
        return not self.waiting


def published(
    config_dump: Json,
    stats: Json,
    *,
    listeners: str | None = None,
    clusters: str | None = None,
    routes: str | None = None,
    endpoints: Mapping[str, str] | None = None,
    before: Mapping[str, int] | None = None,
) -> Published:
    """Compare what Envoy uses with the `version_info` of the files that were written.

    Args:
        config_dump: the answer of `CONFIG_DUMP_PATH`.
        stats: the answer of `STATS_PATH`.
        listeners: the wanted version of the listeners file, None when it was not written. A port that somebody else
            has shows here: Envoy refuses the file and goes on without its door.
        clusters: the same for the clusters file.
        routes: the same for the routes file, as `with_keys` made it.
        endpoints: the wanted versions of endpoints files by the names of their clusters.
        before: `rejections` from before the files were written; only what was rejected since then counts.
    """
    texts = {stat["name"]: stat["value"] for stat in stats["stats"] if isinstance(stat.get("value"), str)}
    waiting = []
    if listeners is not None:
        waiting += _difference("listeners", listeners, texts.get(f"{_LISTENERS_STAT}.version_text"))
        waiting += [f"listeners: {reason}" for reason in _refused_listeners(config_dump)]
    if clusters is not None:
        waiting += _difference("clusters", clusters, texts.get(f"{_CLUSTERS_STAT}.version_text"))
        waiting += [f"clusters: {name} is warming up" for name in _warming(config_dump)]
    if routes is not None:
        waiting += _difference("routes", routes, _routes_version(config_dump))
    for cluster, version in (endpoints or {}).items():
        for one in _with_counted(cluster, texts, ".version_text"):
            waiting += _difference(f"endpoints of {cluster}", version, texts.get(one))
    counted = rejections(stats)
    rejected = tuple(name for name, count in counted.items() if count > (before or {}).get(name, 0))
    return Published(waiting=tuple(waiting), rejected=rejected if waiting else ())


def rejections(stats: Json) -> dict[str, int]:
    """How often Envoy has refused each kind of file since its start."""
    kinds = {"listeners": _LISTENERS_STAT, "clusters": _CLUSTERS_STAT, "routes": _ROUTES_STAT}
    names = {f"{prefix}.update_rejected": kind for kind, prefix in kinds.items()}
    return {names[stat["name"]]: int(stat["value"]) for stat in stats["stats"] if stat.get("name") in names}


def healthy(clusters: Json, cluster: str) -> tuple[tuple[str, int], ...]:
    """The engines of a cluster that get requests now, by address and port, from the answer of `CLUSTERS_PATH`.

    An engine that was never asked for its health yet counts as unhealthy; the dead port of a hold is left out. What one
    of the clusters of counted clients does not use yet does not count either.
    """
    found = [
        [
            (where["address"], where["port_value"])
            for host in status.get("host_statuses", [])
            if (where := host["address"]["socket_address"])["port_value"] != DEAD_PORT and _is_healthy(host)
        ]
        for status in clusters["cluster_statuses"]
        if status["name"].partition("+")[0] == cluster
    ]
    return tuple(address for address in found[0] if all(address in other for other in found)) if found else ()


def knows(stats: Json, cluster: str) -> bool:
    """Whether Envoy has a cluster at all; one that is still to be published has no numbers."""
    prefix = f"cluster.{stat_name(cluster)}."
    return any(stat.get("name", "").startswith(prefix) for stat in stats["stats"])


def running(stats: Json, cluster: str) -> int:
    """How many requests the engines of a cluster work on, also those whose endpoint was taken out meanwhile.

    Requests on hold do not count, so zero says after HELD that the old engine may stop.
    """
    values = {stat["name"]: stat["value"] for stat in stats["stats"] if "name" in stat}
    return sum(int(values.get(name, 0)) for name in _with_counted(cluster, values, ".upstream_rq_active"))


def _with_counted(cluster: str, names: Iterable[str], number: str) -> list[str]:
    """The name of a number of a cluster, and of the clusters that counted clients have of the same engines."""
    start = f"cluster.{stat_name(cluster)}"
    return [f"{start}{number}", *(name for name in names if name.startswith(f"{start}+") and name.endswith(number))]


def _is_healthy(host: Json) -> bool:
    health = host["health_status"]
    return health.get("eds_health_status") == "HEALTHY" and not any(health.get(sign) for sign in _UNHEALTHY)


def _difference(what: str, want: str, have: str | None) -> list[str]:
    return [] if have == want else [f"{what}: version {have or 'none'} is in use, {want} is wanted"]


def _part(config_dump: Json, kind: str) -> Json:
    parts: Iterator[Json] = (part for part in config_dump["configs"] if part["@type"].endswith(kind))
    return next(parts, {})


def _warming(config_dump: Json) -> list[str]:
    warming = _part(config_dump, ".ClustersConfigDump").get("dynamic_warming_clusters", [])
    return [item["cluster"]["name"] for item in warming]


def _refused_listeners(config_dump: Json) -> list[str]:
    listeners = _part(config_dump, ".ListenersConfigDump").get("dynamic_listeners", [])
    reasons = (listener.get("error_state", {}).get("details") for listener in listeners)
    return list(dict.fromkeys(reason for reason in reasons if reason))


def _routes_version(config_dump: Json) -> str | None:
    for item in _part(config_dump, ".RoutesConfigDump").get("dynamic_route_configs", []):
        if item.get("route_config", {}).get("name") == ROUTES_NAME:
            return str(item.get("version_info"))
    return None
