"""The `berth` provider: Pulumi's verbs, each handed to the operation of the resource's type."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, TypeVar

from google.protobuf.empty_pb2 import Empty
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import provider_pb2 as rpc
from pydantic import TypeAdapter, ValidationError

from berth.provider import wire
from berth.provider.diff import changes, path_of
from berth.provider.errors import BadInput, ProviderError, UnknownHost, Unreachable
from berth.provider.facts import FACTS, gather, gather_all
from berth.provider.host import Hosts, HostSettings
from berth.provider.kubernetes.settings import CLUSTERS
from berth.provider.operation import Operation, Want
from berth.provider.progress import Progress
from berth.provider.registry import OPERATIONS

AnyOperation = Operation[Any]
T = TypeVar("T")

_HOST_SETTINGS = TypeAdapter(dict[str, HostSettings])
_KINDS = {
    ("add", False): rpc.PropertyDiff.ADD,
    ("add", True): rpc.PropertyDiff.ADD_REPLACE,
    ("update", False): rpc.PropertyDiff.UPDATE,
    ("update", True): rpc.PropertyDiff.UPDATE_REPLACE,
    ("delete", False): rpc.PropertyDiff.DELETE,
    ("delete", True): rpc.PropertyDiff.DELETE_REPLACE,
}


class BerthProvider:
    """Serves every operation of the registry. State holds the inputs, since requests do not bring the old ones."""

    def __init__(self, progress: Progress, operations: Mapping[str, AnyOperation] = OPERATIONS) -> None:
        self._progress = progress
        self._operations = operations
        self._hosts = Hosts({})
        self._running: set[asyncio.Task[Any]] = set()
        self._away: set[str] = set()

    async def configure(self, request: rpc.ConfigureRequest) -> rpc.ConfigureResponse:
        """Takes the connections of all hosts as one JSON text, so that a moved host is no change of its resources."""
        text = wire.to_plain_map(request.args).get("hosts", "{}")
        if not wire.has_unknown(text):
            self._hosts = Hosts(_HOST_SETTINGS.validate_json(text))
        return rpc.ConfigureResponse(acceptSecrets=False, supportsPreview=True)

    async def check(self, request: rpc.CheckRequest) -> rpc.CheckResponse:
        """Refuses malformed inputs by path and fills in defaults."""
        operation = self._operation(request.urn)
        new = wire.to_plain_map(request.news)
        unknown = {key for key, value in new.items() if wire.has_unknown(value)}
        try:
            plain = operation.wants.model_validate(new).plain() if not unknown else new
        except ValidationError as error:
            return rpc.CheckResponse(
                inputs=request.news,
                failures=[
                    rpc.CheckFailure(property=path_of(item["loc"]), reason=item["msg"])
                    for item in error.errors(include_input=False, include_url=False)
                ],
            )
        return rpc.CheckResponse(inputs=wire.to_wire_map(plain))

    async def diff(self, request: rpc.DiffRequest) -> rpc.DiffResponse:
        """Names each path that differs between the state and what is wanted now."""
        operation = self._operation(request.urn)
        old, new = _differing(request.olds, request.news, operation.wants.model_fields)
        ignored = {*request.ignoreChanges, *operation.guides}
        found = [change for change in changes(old, new) if _top(change.path) not in ignored]
        replaces = sorted({_top(change.path) for change in found} & operation.replace)
        return rpc.DiffResponse(
            changes=rpc.DiffResponse.DIFF_SOME if found else rpc.DiffResponse.DIFF_NONE,
            replaces=replaces,
            deleteBeforeReplace=operation.delete_first,
            diffs=sorted({_top(change.path) for change in found}),
            detailedDiff={
                change.path: rpc.PropertyDiff(kind=_KINDS[change.kind, _top(change.path) in replaces], inputDiff=True)
                for change in found
            },
            hasDetailedDiff=True,
        )

    async def create(self, request: rpc.CreateRequest) -> rpc.CreateResponse:
        """Converges; so running it on something half-done or hand-made is the recovery."""
        operation = self._operation(request.urn)
        plain = wire.to_plain_map(request.properties)
        if request.preview:
            return rpc.CreateResponse(properties=await self._foresee(operation, plain, request.urn))
        want = operation.wants.model_validate(plain)
        properties = await self._tracked(self._converge(operation, want, request.urn), request.timeout)
        return rpc.CreateResponse(id=operation.identity(want), properties=properties)

    async def update(self, request: rpc.UpdateRequest) -> rpc.UpdateResponse:
        """As create; previews call it too."""
        operation = self._operation(request.urn)
        plain = wire.to_plain_map(request.news)
        if request.preview:
            return rpc.UpdateResponse(properties=await self._foresee(operation, plain, request.urn))
        want = operation.wants.model_validate(plain)
        return rpc.UpdateResponse(
            properties=await self._tracked(self._converge(operation, want, request.urn), request.timeout)
        )

    async def read(self, request: rpc.ReadRequest) -> rpc.ReadResponse:
        """Observes the host, so that a preview shows what was changed by hand; gone is an empty id."""
        operation = self._operation(request.urn)
        state = wire.to_plain_map(request.properties)
        want = _stored(operation, state)
        if want is None:
            inputs = request.inputs if request.inputs.fields else request.properties
            return rpc.ReadResponse(id=request.id, properties=request.properties, inputs=inputs)
        try:
            have = await self._tracked(operation.observe(self._hosts.reader(want.host), want))
        except (Unreachable, UnknownHost) as error:
            if want.host not in self._away:  # once for each host, of which there may be many resources
                self._away.add(want.host)
                self._progress.warn(request.urn, f"{error}; what lies there is shown as last known")
            return rpc.ReadResponse(id=request.id, properties=request.properties, inputs=wire.to_wire_map(want.plain()))
        if have is None:
            return rpc.ReadResponse()
        seen = have.plain()
        return rpc.ReadResponse(
            id=request.id, properties=wire.to_wire_map({**state, **seen}), inputs=wire.to_wire_map(seen)
        )

    async def delete(self, request: rpc.DeleteRequest) -> Empty:
        """Removes what create made; what is gone already is no failure."""
        operation = self._operation(request.urn)
        known = _stored(operation, wire.to_plain_map(request.properties))
        if known is None:
            raise BadInput(
                f"{request.urn}: the state is from another version and says not enough to delete it; remove it "
                f"there by hand, then run `pulumi state delete '{request.urn}'`"
            )

        async def remove() -> None:
            try:
                host = await self._hosts.writer(known.host, self._progress.about(request.urn))
            except UnknownHost as error:
                stack = request.urn.split(":")[2]
                raise UnknownHost(
                    f"{error} again to have this removed there, or leave it there and drop what the state knows of it: "
                    f"berth forget {known.host} --stack {stack}"
                ) from None
            await operation.converge(host, None, known)

        await self._tracked(remove(), request.timeout)
        return Empty()

    async def invoke(self, request: rpc.InvokeRequest) -> rpc.InvokeResponse:
        """The facts of `host`, or of all `hosts` by name at once, for the plan; asked before any resource exists.

        Of `clusters`, each with its namespace, likewise.
        """
        if request.tok not in {FACTS, CLUSTERS}:
            raise BadInput(f"{request.tok} is not a function of this provider; it has {FACTS} and {CLUSTERS}")
        args = wire.to_plain_map(request.args)
        if request.tok == CLUSTERS:
            from berth.provider.kubernetes.facts import gather_clusters  # noqa: PLC0415 -- as operations are

            clusters = {str(name): (self._hosts.reader(str(name)), str(at)) for name, at in args["clusters"].items()}
            return _answer(await self._tracked(gather_clusters(clusters)))
        if "hosts" not in args:
            return _answer(await self._tracked(gather(self._hosts.reader(str(args.get("host", ""))))))
        return _answer(await self._tracked(gather_all([self._hosts.reader(str(name)) for name in args["hosts"]])))

    async def cancel(self) -> None:
        """Ends what is running. Pulumi calls this at every normal end as well, when nothing is."""
        for task in list(self._running):
            task.cancel()

    async def close(self) -> None:
        """Gives up hosts and locks."""
        await self.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._hosts.close()
        await self._progress.close()

    def _operation(self, urn: str) -> AnyOperation:
        # A URN's type is qualified by its parents', `parent$child`; only the last one says what to do.
        token = urn.split("::")[2].rsplit("$", 1)[-1]
        operation = self._operations.get(token)
        if operation is None:
            known = ", ".join(sorted(self._operations))
            raise BadInput(f"{token} is not a resource of this provider; it has {known}")
        return operation

    async def _converge(self, operation: AnyOperation, want: Want, urn: str) -> Struct:
        host = await self._hosts.writer(want.host, self._progress.about(urn))
        await operation.converge(host, want, want)
        return wire.to_wire_map({**want.plain(), **await operation.outputs(host, want)})

    async def _foresee(self, operation: AnyOperation, plain: dict[str, Any], urn: str) -> Struct:
        """What a preview can say: the inputs, and outputs that are not known yet; nothing is written."""
        known = {key: value for key, value in plain.items() if key not in operation.late or not wire.has_unknown(value)}
        outputs = dict.fromkeys(operation.output_names(), wire.UNKNOWN)
        if not wire.has_unknown(known):
            outputs |= await self._look_ahead(operation, operation.wants.model_validate(known), urn)
        return wire.to_wire_map({**plain, **outputs})

    async def _look_ahead(self, operation: AnyOperation, want: Want, urn: str) -> dict[str, Any]:
        """Finds what would fail, and what will come of it as far as that is known.

        A preview does not need the host, so one that cannot be reached is no failure here.
        """
        host = self._hosts.reader(want.host)
        try:
            await self._tracked(operation.preflight(host, want))
            for warning in await self._tracked(operation.warnings(host, want)):
                self._progress.warn(urn, warning)
            for line in await self._tracked(operation.announced(host, want)):
                self._progress.tell(urn, line)
            return await self._tracked(operation.foreseen(host, want))
        except Unreachable:
            return {}

    async def _tracked(self, work: Awaitable[T], timeout_s: float = 0) -> T:
        """Runs work so that `cancel` reaches it; a timeout of 0 means none, as Pulumi sends it."""
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            async with asyncio.timeout(timeout_s or None):
                return await task
        except asyncio.CancelledError:
            raise ProviderError("cancelled; run the same again, it goes on from what is there") from None
        except TimeoutError:
            raise ProviderError(f"not done within the {timeout_s:.0f} s of its customTimeouts") from None


def _differing(old: Struct, new: Struct, fields: Iterable[str]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What differs at all of a state's `fields` and of new inputs: few of many, so that only those are looked into."""
    before = {key: old.fields[key] for key in fields if key in old.fields}
    after = {key: value for key, value in new.fields.items() if not key.startswith("__")}
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return (
        {key: wire.to_plain(before[key]) for key in keys if key in before},
        {key: wire.to_plain(after[key]) for key in keys if key in after},
    )


def _answer(found: Mapping[str, Any]) -> rpc.InvokeResponse:
    return rpc.InvokeResponse(**{"return": wire.to_wire_map(found)})


def _top(path: str) -> str:
    """The property that a path starts with."""
    return path.split(".", 1)[0].split("[", 1)[0]


def _stored(operation: AnyOperation, state: Mapping[str, Any]) -> Any:
    """The declaration that a state holds; None when another version of this provider wrote it in other words."""
    fields = operation.wants.model_fields
    try:
        return operation.wants.model_validate({key: value for key, value in state.items() if key in fields})
    except ValidationError:
        return None
