"""The memory of cards after an engine has ended: an engine that starts while it is still given back aborts."""

from __future__ import annotations

from berth.provider.command import shell
from berth.provider.host import Host

LIMIT_S = 30
"""The driver gives memory back within a second or two of the end of a process; what takes longer is another's."""

_STILL = """
command -v nvidia-smi > /dev/null || exit 0
used() { nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits 2> /dev/null | tr '\\n' ' '; }
limit=$1 before=$(used)
while [ "$limit" -gt 0 ]; do
  limit=$((limit - 1))
  sleep 1
  now=$(used)
  falls=
  set -- $now
  for one in $before; do
    if [ "${1:-0}" -lt "$one" ] 2> /dev/null; then falls=1; fi
    if [ $# -gt 0 ]; then shift; fi
  done
  if [ -z "$falls" ]; then exit 0; fi
  before=$now
done
"""


async def until_given_back(host: Host, name: str) -> None:
    """Waits until no card's used memory falls any more, `LIMIT_S` at most; at once where there is no NVIDIA driver.

    vLLM aborts its start when a neighbour's memory is released while it measures its own (vllm#56830).
    """
    says = f"{name}: waiting for the card's memory"
    await host.run(shell(_STILL, str(LIMIT_S), says=says, timeout_s=LIMIT_S * 3))
