"""Units as types: an amount of memory is `Bytes`, never a bare float in GiB."""

from __future__ import annotations

import re

_FACTORS = {
    "": 1, "B": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip


class Bytes(int):
    """An amount of memory or disk in bytes.

    >>> Bytes.parse("1.5 GiB").gib
    1.5
    """

    @classmethod
    def from_gib(cls, gib: float) -> Bytes:
        """From GiB (2**30 bytes), rounded to the byte."""
        return cls(round(gib * 2**30))

    @classmethod
    def from_mib(cls, mib: float) -> Bytes:
        """From MiB (2**20 bytes), as nvidia-smi reports memory."""
        return cls(round(mib * 2**20))

    @classmethod
    def parse(cls, text: str) -> Bytes:
        """From text such as `16 GiB` or `500MB`.

        Raises:
            ValueError: the text is not a number with a unit of bytes.
        """
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
        if found is None or found[2].upper() not in _FACTORS:
            raise ValueError(f"{text!r} is not an amount of memory; write it as 16 GiB or 500 MB")
        return cls(round(float(found[1]) * _FACTORS[found[2].upper()]))

    @property
    def gib(self) -> float:
        """The amount in GiB (2**30 bytes)."""
        return self / 2**30

    def __add__(self, other: int) -> Bytes:
        return Bytes(int(self) + int(other))

    __radd__ = __add__

    def __sub__(self, other: int) -> Bytes:
        return Bytes(int(self) - int(other))

    def __str__(self) -> str:
        return f"{self.gib:.1f} GiB"
