"""The gateway's files: validated, then published in order, and taken back when Envoy refuses them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from berth.gateway.admin import CONFIG_DUMP_PATH, STATS_PATH, published, rejections
from berth.gateway.clusters import between
from berth.gateway.endpoints import endpoints
from berth.gateway.flat import flat_bootstrap
from berth.gateway.keys import with_keys, without_keys
from berth.gateway.names import (
    BOOTSTRAP_FILE,
    CLUSTERS_FILE,
    LISTENERS_FILE,
    ROUTES_FILE,
    STATUS_FILE,
    endpoints_file,
)
from berth.gateway.process import validate_command
from berth.provider.command import Command, put, shell
from berth.provider.errors import BadInput, ProviderError
from berth.provider.host import Host
from berth.provider.http import get_json
from berth.provider.operation import Operation, Want

_FILES = {
    "bootstrap": BOOTSTRAP_FILE,
    "listeners": LISTENERS_FILE,
    "clusters": CLUSTERS_FILE,
    "routes": ROUTES_FILE,
}
"""In the order in which they are published: a route must not name a cluster that is not there yet."""

_AT_START = {"bootstrap", "listeners"}
"""Taken over by the restart that follows a change of them: Envoy cannot bind the port of a listener twice."""

_FOREIGN = "(not declared)"
_STAGED = ".staged.json"
_MODE = "0600"  # the routes hold the keys
_APPLIED_S = 15
_PAUSE_S = 0.2
_SHOWN = 600  # characters of Envoy's message; it goes on with the whole configuration

_LOOK = r"""
folder=$1
keys=$2
shift 2
if [ ! -d "$folder" ]; then exit 4; fi
for name in "$@"; do
  if [ -f "$folder/$name" ]; then base64 < "$folder/$name" | tr -d '\n'; fi
  echo
done
if [ -f "$folder/$keys" ]; then stat -c '0%a' -- "$folder/$keys"; fi
"""

_ABSENT = """
if [ ! -s "$1" ]; then
  mkdir -p -- "$(dirname -- "$1")"
  cat > "$1.new"
  mv -f -- "$1.new" "$1"
fi
"""


class GatewayConfigurationWant(Want):
    """The files of one gateway in `folder`; `keys` are values by client, everything else names them only.

    `envoy` is the binary that validates, `admin_port` where the running one is asked whether it took the change.
    `status` is written where there is none; from then on the file is the watcher's. `mode` is that of the routes, in
    which the keys are.
    """

    folder: str
    envoy: str
    admin_port: int
    bootstrap: dict[str, Any]
    listeners: dict[str, Any]
    clusters: dict[str, Any]
    routes: dict[str, Any]
    status: dict[str, Any] = {}
    keys: dict[str, str] = Field(default={}, repr=False)
    mode: str = _MODE

    def texts(self) -> dict[str, str]:
        """The content of each file, in the order of publishing."""
        contents = {
            "bootstrap": self.bootstrap,
            "listeners": self.listeners,
            "clusters": self.clusters,
            "routes": with_keys(self.routes, self.keys) if self.keys else self.routes,
        }
        return {name: json.dumps(content, indent=1) for name, content in contents.items()}


class GatewayConfiguration(Operation[GatewayConfigurationWant]):
    """Declares the files of a gateway."""

    kind = "berth:gateway:Configuration"
    wants = GatewayConfigurationWant
    replace = frozenset({"host", "folder"})
    delete_first = True

    def identity(self, want: GatewayConfigurationWant) -> str:
        """The gateway's folder on its host."""
        return f"{want.host}:{want.folder}"

    async def observe(self, host: Host, want: GatewayConfigurationWant) -> GatewayConfigurationWant | None:
        """Reads all files back in one go; what is no JSON any more is shown as empty."""
        names = (*_FILES.values(), STATUS_FILE)
        look = shell(_LOOK, want.folder, ROUTES_FILE, *names, says="looking at the gateway", ok=frozenset({0, 4}))
        result = await host.run(look)
        if result.status == 4:
            return None
        parts = result.stdout.split("\n")
        seen = {name: _json(text) for name, text in zip(_FILES, parts, strict=False)}
        if not any(seen.values()):
            return None
        keys: dict[str, str] = {}
        try:
            routes, keys = without_keys(seen["routes"]) if want.keys or seen["routes"] else (seen["routes"], {})
        except (KeyError, TypeError, AttributeError):  # edited beyond recognition; what it holds may be keys
            routes = {}
        # A value that is not ours is nobody's to see either, and the engine marks only what was declared as secret.
        keys = {client: value if client in want.keys else _FOREIGN for client, value in keys.items()}
        seen["clusters"] = _recognised(seen["clusters"])
        seen["status"] = want.status if _json(parts[len(_FILES)]) else {}
        mode = parts[len(names)] or want.mode  # without routes, these are what is shown to be missing
        return want.model_copy(update={**seen, "routes": routes, "keys": keys, "mode": mode})

    def steps(self, want: GatewayConfigurationWant | None, have: GatewayConfigurationWant | None) -> Sequence[Command]:
        """Only files that differ are written, in an order in which no route ever names a cluster that is not there.

        New clusters come before the routes that name them, and old ones go after: in between are both.
        """
        if want is None:
            script = 'rm -rf -- "$1"'
            return [] if have is None else [shell(script, have.folder, says="removing the gateway's files")]
        texts = want.texts()
        old = _texts(have) if have is not None and set(have.keys) >= set(want.keys) else {}
        if have is not None and have.mode != want.mode:
            old.pop("routes", None)
        files = [(name, texts[name]) for name in ("bootstrap", "listeners")]
        both = json.dumps(between(have.clusters, want.clusters), indent=1) if have and have.clusters else ""
        if both not in {"", texts["clusters"], old.get("clusters")}:
            files += [("clusters", both), ("routes", texts["routes"]), ("clusters", texts["clusters"])]
            old.pop("clusters", None)
        else:
            files += [("clusters", texts["clusters"]), ("routes", texts["routes"])]
        return [
            put(f"{want.folder}/{_FILES[name]}", text, mode=want.mode, says=f"publishing the gateway's {name}")
            for name, text in files
            if old.get(name) != text
        ]

    async def preflight(self, host: Host, want: GatewayConfigurationWant) -> None:
        """Keys that Envoy would refuse."""
        del host
        try:
            want.texts()
        except (KeyError, ValueError) as error:
            raise BadInput(str(error.args[0])) from None

    async def apply(
        self, host: Host, want: GatewayConfigurationWant | None, have: GatewayConfigurationWant | None
    ) -> None:
        """Validates the whole, publishes the parts, and restores what was there when the running Envoy refuses one."""
        if want is None:
            await super().apply(host, None, have)
            return
        await self._validate(host, want)
        for cluster in _clusters(want):
            await self._write_absent(host, want, endpoints_file(cluster), endpoints(cluster, [], held=False))
        if want.status:
            await self._write_absent(host, want, STATUS_FILE, want.status)
        stats = await get_json(host, want.admin_port, STATS_PATH)
        before = None if stats is None else rejections(stats)
        try:
            for command in self.steps(want, have):
                await host.run(command)
                if before is not None:
                    await self._in_use(host, want, command, before)
        except ProviderError:
            if have is not None and _texts(have):
                for command in self.steps(have, None):
                    await host.run(command)
            raise
        if have is not None:
            await self._forget(host, sorted(set(_clusters(have)) - set(_clusters(want))), want.folder)

    async def _write_absent(self, host: Host, want: GatewayConfigurationWant, file: str, content: Any) -> None:
        """Writes what others go on with, where they have not begun."""
        text = json.dumps(content).encode()
        await host.run(shell(_ABSENT, f"{want.folder}/{file}", stdin=text, says=f"making room for {file}"))

    async def _validate(self, host: Host, want: GatewayConfigurationWant) -> None:
        flat = flat_bootstrap(want.bootstrap, want.listeners, want.routes, want.clusters)
        staged = f"{want.folder}/{_STAGED}"
        await host.run(put(staged, json.dumps(flat), mode=_MODE, says="staging the gateway's files"))
        argv = tuple(validate_command(want.envoy, staged))
        check = Command(argv=argv, says="validating the gateway's files", ok=frozenset(range(256)))
        result = await host.run(check)
        await host.run(shell('rm -f -- "$1"', staged, says="clearing what was staged"))
        if result.status != 0:
            why = result.stderr.strip()[:_SHOWN]
            raise BadInput(f"gateway: Envoy refuses the configuration, nothing was changed:\n{why}")

    async def _in_use(
        self, host: Host, want: GatewayConfigurationWant, command: Command, before: Mapping[str, int]
    ) -> None:
        """Waits until the running Envoy uses what was just written, if that can be without a restart."""
        kind = next(name for name, file in _FILES.items() if f"{want.folder}/{file}" in command.argv)
        if kind in _AT_START:
            return
        version = {kind: json.loads(command.stdin or b"{}")["version_info"]}
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _APPLIED_S
        waiting: tuple[str, ...] = (f"{kind}: Envoy does not answer",)
        while loop.time() < deadline:
            dump = await get_json(host, want.admin_port, CONFIG_DUMP_PATH)
            stats = await get_json(host, want.admin_port, STATS_PATH)
            if dump is not None and stats is not None:
                seen = published(dump, stats, before=before, **version)
                if seen.active:
                    return
                waiting = seen.waiting
                if seen.rejected:
                    break
            await asyncio.sleep(_PAUSE_S)
        raise ProviderError("gateway: the running Envoy did not take a change over: " + "; ".join(waiting))

    async def _forget(self, host: Host, clusters: Sequence[str], folder: str) -> None:
        for cluster in clusters:
            script = 'rm -f -- "$1"'
            path = f"{folder}/{endpoints_file(cluster)}"
            await host.run(shell(script, path, says=f"forgetting {cluster}"))


def _texts(have: GatewayConfigurationWant) -> dict[str, str]:
    """The files as they are; none when they hold what could never have been written."""
    try:
        return have.texts()
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def _clusters(want: GatewayConfigurationWant) -> list[str]:
    """The clusters that have an endpoints file; those of counted clients share it with the revision's own."""
    names = (cluster["name"].partition("+")[0] for cluster in want.clusters.get("resources", []))
    return list(dict.fromkeys(names))


def _recognised(clusters: dict[str, Any]) -> dict[str, Any]:
    """The clusters as read, or nothing when they were edited by hand beyond recognition."""
    try:
        return clusters if all(cluster["name"] for cluster in clusters["resources"]) else {}
    except (KeyError, TypeError):
        return {}


def _json(encoded: str) -> dict[str, Any]:
    try:
        value = json.loads(base64.b64decode(encoded))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
