"""What looks like a secret among flags and variables. Better one that is none than one that is written down."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from berth.catalogue.json_values import json_value

_STRONG = "password|passwd|passphrase|secret|credential|apikey|accesskey|secretkey|privatekey"
_NAME = re.compile(
    rf"(^|[-_.])([a-z0-9]*({_STRONG}|token)|keys?|pwd|pat|dsn|creds?|auth|authorization|bearer|cookie)($|[-_.])"
    rf"|(^|[-_.])([a-z0-9]*({_STRONG}|token)s|pass)($|\.)"
)
_NUMBER = re.compile(rf"(^|[-_.])([a-z0-9]*({_STRONG})s?|pwd|pin)($|[-_.])")
"""Names by which even a number is one: of `token` and `key` there are counts and ids."""

_OF_TEXT = re.compile(
    r"(^|[-_.])(bos|eos|pad|unk|sep|cls|mask|stop|special|image|video|audio|speculative)"
    r"[-_]tokens?([-_](ids?|map))?$"
)
"""Tokens of a tokenizer."""

_COUNT = re.compile(r"\d+(\.\d+)?[kKmMgGtT]?|(?i:true|false|none|auto)")
_VALUE = re.compile(
    r"://[^/\s@]+@"  # a login in a URL
    r"|\bhf_[A-Za-z0-9]{10,}|\b(sk|pk|rk)-[\w-]{4,}(?![\w/-])|\bgh[pousr]_[A-Za-z0-9]{6,}|\bgithub_pat_\w{6,}"
    r"|\bglpat-[\w-]{6,}|\bxox[abprs]-[\w-]{6,}|\bnvapi-[\w-]{6,}|\bAKIA[0-9A-Z]{12,}|\bAIza[\w-]{20,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{4,}|-----BEGIN [A-Z ]*PRIVATE KEY"
)
_PAIR = re.compile(r"([\w.-]+)[\"'\\]*\s*[:=]")
"""A name with a value after it, in text that is no JSON or holds some."""


def secret(name: str, value: object = "") -> bool:
    """Whether a flag or a variable looks like a secret: by its name, a name within its value, or the value itself."""
    if value is None or isinstance(value, bool):
        return False
    plain = _plain(name)
    if isinstance(value, int | float):
        return bool(_NUMBER.search(plain))
    if isinstance(value, Mapping):
        return any(secret(f"{name}.{key}", one) for key, one in value.items())
    if isinstance(value, str):
        return _named(plain, value) or _within(value)
    if isinstance(value, Sequence):
        return any(secret(name, one) for one in value)
    return bool(_NAME.search(plain))


def _named(plain: str, value: str) -> bool:
    if _OF_TEXT.search(plain) or not _NAME.search(plain):
        return False
    return not (re.search(r"tokens($|[-_.])", plain) and _COUNT.fullmatch(value))


def _within(value: str) -> bool:
    if _VALUE.search(value):
        return True
    if value.lstrip()[:1] in {"{", "["}:
        try:
            return secret("", json_value(value))
        except ValueError:
            pass
    return any(_named(_plain(found), "") for found in _PAIR.findall(value))


def _plain(name: str) -> str:
    """A name in one spelling: apiKey is api_key."""
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()
