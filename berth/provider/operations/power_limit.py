"""Power limits of a host's cards, set again after every boot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from berth.facts import HostFacts
from berth.provider.command import Command, put, shell
from berth.provider.errors import BadInput
from berth.provider.host import Host
from berth.provider.legacy_gpus import told
from berth.provider.operation import FactOperation, Want
from berth.provider.unchangeable import refuse_unchangeable

UNIT = "berth-gpu-power.service"
FILE = f"/etc/systemd/system/{UNIT}"
_HALF_A_WATT = 0.5
"""Drivers round what they are told."""

_APPLY = """
if [ "$2" = enable ]; then systemctl daemon-reload; systemctl enable -- "$1"; fi
if ! systemctl restart -- "$1"; then
  journalctl --no-pager --output=cat --lines=8 --unit="$1" >&2 || :
  exit 1
fi
"""
_REMOVE = """
unit=$1 file=$2
shift 2
systemctl disable --now -- "$unit" 2> /dev/null || :
rm -f -- "$file"
systemctl daemon-reload
for index do
  default=$(nvidia-smi --id="$index" --query-gpu=power.default_limit --format=csv,noheader,nounits)
  nvidia-smi --id="$index" --power-limit="$default"
done
"""

Index = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,3})$")]
Watts = Annotated[float, Field(gt=0, le=5000)]


class PowerLimitWant(Want):
    """`watts` by the card's index (nvidia-smi's).

    `unit` is there to be observed: the service that sets them again at boot; it is not loaded where an update was cut
    before systemd read it.
    """

    watts: dict[Index, Watts] = Field(min_length=1)
    unit: Literal["as declared", "edited by hand", "not at boot", "not loaded"] = "as declared"
    on_destroy: Literal["keep", "remove"] = "keep"


class PowerLimit(FactOperation[PowerLimitWant]):
    """Declares power limits."""

    kind = "berth:host:PowerLimit"
    wants = PowerLimitWant

    def identity(self, want: PowerLimitWant) -> str:
        """One for each host."""
        return f"{want.host}:power-limit"

    def seen(self, facts: HostFacts, want: PowerLimitWant) -> PowerLimitWant | None:
        """The limits as the cards say, and the service; without its file nothing is declared there.

        In a container, where no service is its own, what the cards say is all.
        """
        file, unit = facts.files.get(FILE), facts.units.get(UNIT)
        if file is None and not facts.guest:
            return None
        state = "as declared" if file is None or file.content == content(want.watts) else "edited by hand"
        if state == "as declared" and not facts.guest and (unit is None or unit.enabled != "enabled"):
            state = "not at boot"
        elif state == "as declared" and unit is not None and unit.needs_reload:
            state = "not loaded"
        limits = {str(gpu.index): gpu.power_limit for gpu in facts.gpus}
        watts = {
            index: wanted if abs(found - wanted) <= _HALF_A_WATT else found
            for index, wanted in want.watts.items()
            if (found := limits.get(index)) is not None
        }
        return want.model_copy(update={"watts": watts, "unit": state})

    def steps(self, want: PowerLimitWant | None, have: PowerLimitWant | None) -> Sequence[Command]:
        """Writes the service where it differs and runs it, which sets the limits."""
        if want is None:
            says = "giving the cards their own power limits back"
            return [] if have is None else [shell(_REMOVE, UNIT, FILE, *have.watts, says=says, root=True)]
        if have is not None and not self.differing(want, have):
            return []
        says = f"setting power limits of {', '.join(f'{watts:g} W' for watts in want.watts.values())}"
        if have is not None and have.unit == "as declared" and have.watts.keys() == want.watts.keys():
            return [shell(_APPLY, UNIT, "start", says=says, root=True)]
        return [put(FILE, content(want.watts), root=True), shell(_APPLY, UNIT, "enable", says=says, root=True)]

    async def preflight(self, host: Host, want: PowerLimitWant) -> None:
        """A card that is not there or cannot do that much is refused; without a driver nobody knows yet."""
        facts = await host.facts()
        if facts.gpus and (problems := list(_problems(facts, want))):
            raise BadInput("\n".join(f"{host.name}: power_limit: {problem}" for problem in problems))
        if have := self.seen(facts, want):
            if not self.differing(want, have):
                return
            limits = have.watts
        else:
            limits = {str(gpu.index): gpu.power_limit for gpu in facts.gpus if gpu.power_limit is not None}
        is_now = ", ".join(f"{watts:g} W on gpu {index}" for index, watts in limits.items()) or "not known"
        must = ", ".join(f"{watts:g} W on gpu {index}" for index, watts in want.watts.items())
        refuse_unchangeable(facts, host.name, f"the power limit is {is_now}, must be {must} at every boot")

    async def warnings(self, host: Host, want: PowerLimitWant) -> Sequence[str]:
        """The daemon-reload that a new service needs may take cards from containers."""
        facts = await host.facts()
        have = self.seen(facts, want)
        return told(facts, host.name) if have is None or have.unit != "as declared" else ()


def content(watts: Mapping[str, float]) -> str:
    """The service that sets the limits: after the daemon that keeps the driver from forgetting them."""
    runs = [
        f"ExecStart=/usr/bin/nvidia-smi --id={index} --power-limit={watts[index]:g}" for index in sorted(watts, key=int)
    ]
    return "\n".join(
        [
            "# Written by Berth: power limits, which the driver forgets at every boot.",
            "[Unit]",
            "Description=Power limits of the GPUs",
            "After=nvidia-persistenced.service",
            "",
            "[Service]",
            "Type=oneshot",
            "RemainAfterExit=yes",
            *runs,
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )


def _problems(facts: HostFacts, want: PowerLimitWant) -> Iterator[str]:
    cards = {str(gpu.index): gpu for gpu in facts.gpus}
    for index, watts in want.watts.items():
        card = cards.get(index)
        if card is None:
            yield f"gpu {index} is not there, must be one of {', '.join(cards)}"
        elif card.power_limit is None:
            yield f"gpu {index} ({card.name}) has no power limit that can be set; leave it out"
        elif not (card.power_min or 0) <= watts <= (card.power_max or float("inf")):
            most = f"{card.power_max:g}" if card.power_max is not None else "any"
            yield f"gpu {index} ({card.name}) is to have {watts:g} W, must be {card.power_min or 0:g} to {most} W"
