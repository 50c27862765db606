"""The values of API keys: put into the routes when they are written, taken out when they are read back."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping

from berth.gateway.names import API_KEY_AUTH
from berth.gateway.routes import placeholder
from berth.gateway.xds import Json, digest


def with_keys(routes: Json, keys: Mapping[str, str]) -> Json:
    """The routes with the value of each key in place of its placeholder, and a version that knows the values.

    Raises:
        KeyError: a key of the routes has no value; the name is the argument.
        ValueError: a value is empty, or two keys have the same value, which Envoy would refuse.
    """
    filled = copy.deepcopy(routes)
    used: dict[str, str] = {}
    for credential in _credentials(filled):
        name = credential["client"]
        value = keys[name]
        if not value:
            raise ValueError(f"gateway.keys.{name}: the key is empty; give it a value of 32 random bytes or more")
        if value in used:
            raise ValueError(f"gateway.keys.{name}: the same key as {used[value]}; each client needs its own")
        used[value] = name
        credential["key"] = value
    if used:
        filled["version_info"] = _version(routes["version_info"], used)
    return filled


def without_keys(routes_as_read: Json) -> tuple[Json, dict[str, str]]:
    """The routes as `routes` makes them, and the values by the names of their keys: the reverse of `with_keys`."""
    plain = copy.deepcopy(routes_as_read)
    values: dict[str, str] = {}
    for credential in _credentials(plain):
        values[credential["client"]] = credential["key"]
        credential["key"] = placeholder(credential["client"])
    plain["version_info"] = digest(plain["resources"])
    return plain, values


def _credentials(routes: Json) -> Iterator[Json]:
    for resource in routes["resources"]:
        for host in resource["virtual_hosts"]:
            yield from host.get("typed_per_filter_config", {}).get(API_KEY_AUTH, {}).get("credentials", [])


def _version(plain: str, used: Mapping[str, str]) -> str:
    """The version is public on the host, so the keys go into it by a slow hash, salted with the routes."""
    text = "\0".join(f"{name}\0{value}" for value, name in sorted(used.items()))
    slow = hashlib.scrypt(text.encode(), salt=plain.encode(), n=2**14, r=8, p=1, dklen=8)
    return f"{plain}-{slow.hex()}"
