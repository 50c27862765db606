"""The base of everything that the provider can do on a host.

An operation is one short module: `Want` says what can be declared, `observe` reads what is there in the same words, and
`steps` decides, touching nothing, which commands lead from one to the other. The base does the rest: it compares, runs,
observes again, and fails naming what still differs. Create, update and repair are the same `converge`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from berth.facts import HostFacts
from berth.provider import legacy_gpus
from berth.provider.command import Command
from berth.provider.diff import changes
from berth.provider.errors import StillDiffers
from berth.provider.host import Host


class Want(BaseModel):
    """What can be declared of one thing on one host."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str

    def plain(self) -> dict[str, Any]:
        """The declaration as plain values, defaults included."""
        return self.model_dump(mode="json")


W = TypeVar("W", bound=Want)


class Operation(ABC, Generic[W]):
    """One kind of thing on a host.

    `kind` is its Pulumi type, `wants` its model, `replace` the properties that cannot change in place (a change makes a
    new one), `delete_first` whether the old one must go before the new one comes, `late` the properties that only make
    it looked at again: a preview that does not know them yet looks ahead all the same. `guides` are those that say how
    it is changed and nothing of what it is, so that another value of theirs is no change. `shared` says that it changes
    what all stacks of a host share, so that only one update at a time may do it.
    """

    kind: ClassVar[str]
    wants: type[W]
    replace: ClassVar[frozenset[str]] = frozenset({"host"})
    delete_first: ClassVar[bool] = False
    late: ClassVar[frozenset[str]] = frozenset()
    guides: ClassVar[frozenset[str]] = frozenset()
    shared: ClassVar[bool] = False

    @abstractmethod
    def identity(self, want: W) -> str:
        """The id of the resource in Pulumi's state."""

    @abstractmethod
    async def observe(self, host: Host, want: W) -> W | None:
        """What is there now, in the words of `want`; None when there is nothing. Reads only."""

    @abstractmethod
    def steps(self, want: W | None, have: W | None) -> Sequence[Command]:
        """The commands that lead from `have` to `want`; None means nothing there, or nothing wanted. Pure."""

    async def preflight(self, host: Host, want: W) -> None:
        """Raises `BadInput` for what can be seen to fail before anything is changed; called in previews too."""

    async def warnings(self, host: Host, want: W) -> Sequence[str]:
        """What the reader of a preview must know before agreeing to it; called in previews of what would change."""
        del host, want
        return ()

    async def announced(self, host: Host, want: W) -> Sequence[str]:
        """How it will be changed, where there is more than one way; called in previews of what would change."""
        del host, want
        return ()

    async def apply(self, host: Host, want: W | None, have: W | None) -> None:
        """Runs the steps one after the other; an operation with transitions of its own overrides this."""
        for command in self.steps(want, have):
            await host.run(command)

    async def outputs(self, host: Host, want: W) -> dict[str, Any]:
        """What the resource gives to others beside its inputs, once it is as declared."""
        del host, want
        return {}

    def output_names(self) -> Sequence[str]:
        """The names of `outputs`, which are unknown in a preview."""
        return ()

    async def foreseen(self, host: Host, want: W) -> dict[str, Any]:
        """The outputs that a preview knows all the same, so that what depends on them does not look changed."""
        del host, want
        return {}

    async def converge(self, host: Host, want: W | None, known: W) -> W | None:
        """Makes the host as declared, whatever half of it is there, and proves it by observing again.

        `known` says where to look when nothing is wanted any more. What others may use (`on_destroy` is "keep") is then
        left as it is, without a look.

        Raises:
            StillDiffers: the steps ran and the host is not as declared.
        """
        if want is None and getattr(known, "on_destroy", "remove") == "keep":
            return None
        have = await self.observe(host.quietly(), want or known)
        if self.alone(want or known) and self.differing(want, have):
            await host.alone()
            have = await self.observe(host.quietly(), want or known)  # whoever was waited for may have changed it
        if not self.differing(want, have):
            return have
        if want is not None:
            await self.preflight(host.quietly(), want)
        if want is None:  # of what goes, no preview speaks
            for line in await legacy_gpus.before(host, self.steps(None, have)):
                host.say(line)
        try:
            await self.apply(host, want, have)
        finally:
            host.gathered.forget()
        have = await self.observe(host.quietly(), want or known)
        still = self.differing(want, have)
        if want is None and not self.steps(None, have):
            return None  # what is left is not Berth's to take away: another's unit without our drop-in, an account
        if still:
            raise StillDiffers(host=host.name, what=self.identity(want or known), keys=still)
        return have

    def alone(self, want: W) -> bool:
        """Whether this changes what all stacks of the host share: what is written with the rights of root does."""
        return self.shared or bool(getattr(want, "root", False))

    def differing(self, want: W | None, have: W | None) -> list[str]:
        """The paths in which the host is not as declared; secret ones by their name alone."""
        if want is None or have is None:
            return [] if want is have else ["existence"]
        return [change.path for change in changes(have.plain(), want.plain())]


class FactOperation(Operation[W]):
    """An operation that sees all it needs in the facts of its host, of which there is one gathering for all of them.

    Facts are of the host itself, and so is what is changed.
    """

    shared = True

    @abstractmethod
    def seen(self, facts: HostFacts, want: W) -> W | None:
        """What the facts say, in the words of `want`; None when there is nothing. Pure."""

    async def observe(self, host: Host, want: W) -> W | None:
        """Reads the facts, which are gathered again only after something was changed."""
        return self.seen(await host.facts(), want)
