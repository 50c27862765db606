"""How cards reach each other, read out of the driver's table as published dumps show it."""

from __future__ import annotations

import pytest

from berth.facts.gathering import topology

BRIDGED = """\
\t\x1b[4mGPU0\tGPU1\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m
GPU0\t X \tNV4\t0-23,48-71\t0\t\tN/A
GPU1\tNV4\t X \t0-23,48-71\t0\t\tN/A

Legend:

  X    = Self
  SYS  = Connection traversing PCIe as well as the SMP interconnect between NUMA nodes (e.g., QPI/UPI)
  NV#  = Connection traversing a bonded set of # NVLinks
"""
MIXED = """\
\tGPU0\tGPU1\tGPU2\tNIC0\tCPU Affinity\tNUMA Affinity
GPU0\t X \tPHB\tSYS\tPIX\t0-15\t0
GPU1\tPHB\t X \tSYS\tPHB\t0-15\t0
GPU2\tSYS\tSYS\t X \tSYS\t16-31\t1
NIC0\tPIX\tPHB\tSYS\t X
"""


@pytest.mark.parametrize(
    ("table", "links"),
    [
        pytest.param(BRIDGED, {"0-1": "NV4"}, id="a pair with a bridge"),
        pytest.param(MIXED, {"0-1": "PHB", "0-2": "SYS", "1-2": "SYS"}, id="PCIe, with a network card beside"),
        pytest.param("\tGPU0\tCPU Affinity\nGPU0\t X \t0-31\n", {}, id="one card"),
        pytest.param("Failed to initialize NVML: Driver/library version mismatch\n", {}, id="no table"),
        pytest.param("", {}, id="not asked"),
        pytest.param("\tGPU0\tGPU1\nGPU0\t X \n", {}, id="cut off"),
    ],
)
def test_each_pair_of_cards(table: str, links: dict[str, str]) -> None:
    assert topology.read({"links": table}) == {"links": links}
