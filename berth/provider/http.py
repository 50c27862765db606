"""HTTP to a loopback port of a host, through its connection."""

from __future__ import annotations

import asyncio
from typing import Any

import requests

from berth.provider.host import Host


def session() -> requests.Session:
    """A session that no proxy of the environment stands before: all addresses here are loopback."""
    made = requests.Session()
    made.trust_env = False
    return made


async def get(
    host: Host, port: int, path: str, *, scheme: str = "http", timeout_s: float = 5
) -> requests.Response | None:
    """One GET; None when nobody answers in time."""

    def ask(url: str) -> requests.Response | None:
        try:
            with session() as http:
                return http.get(url, timeout=timeout_s)
        except requests.RequestException:
            return None

    async with host.forward(port) as address:
        return await asyncio.to_thread(ask, f"{scheme}://{address}{path}")


async def get_json(host: Host, port: int, path: str) -> Any:
    """One GET of JSON; None when nobody answers, or not with JSON."""
    answer = await get(host, port, path)
    if answer is None or not answer.ok:
        return None
    try:
        return answer.json()
    except ValueError:
        return None
