"""A serving engine as it is declared: what runs, where the gateway has it, and how it may be replaced."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from berth.engines.registry import ENGINES
from berth.provider.asking import Asks
from berth.provider.operations.process import Supervision
from berth.provider.supervision.service import Service
from berth.provider.traffic import Traffic, TrafficState

DECLARED = (
    *("model", "revision", "engine", "version", "device", "environment", "weights", "served_names"),
    *("arguments", "variables", "port", "cluster"),
)
"""What the start script carries along, to be read back from it."""

LATER = ("image", "address", "cpus", "memory")

GUIDES = frozenset(
    {"on_change", "why", "spare_port", "hold_limit_s", "prompts", "asks", "answer_timeout_s", "instead_of"},
)
"""What says how a replica is replaced and proved, and nothing of what it is."""

SECRETS_OPEN = "secrets with another mode"
"""What a definition is when others may read its secrets, or its engine may not."""

_LOOPBACK = "127.0.0.1"
_EVERYWHERE = "0.0.0.0"  # noqa: S104 -- inside a container, which publishes its port where it is told to


class ReplicaWant(Supervision):
    """An engine; times in seconds.

    `environment` is the folder with the engine's `bin/`, empty for what a container's image has on its PATH, `weights`
    the model folder or what the engine resolves itself, `arguments` the engine's own flags, `variables` its
    environment. `locks` are files, one for each card, held while it starts. `endpoints` is the gateway's file of this
    revision's engines and `admin_port` the gateway's admin interface (both empty without a gateway). `image` is the id
    of the container's image, so that one that moved under its name is a change. `secrets` are values by the name of the
    variable that has them, which reach the engine through files. `address` is where `port` listens. `cpus` and `memory`
    (in bytes) are what a process may use at most, 0 all there is; a container has limits of its own.

    How it is replaced is no part of what it is, so that a change of these alone is none (see `GUIDES`): `on_change` is
    the way, `why` the figures it was chosen by, `spare_port` where a second engine listens meanwhile (0: there can be
    none), `hold_limit_s` how long the gateway lets a request wait. `prompts` are what a started engine must answer
    before any request of others reaches it; `asks` says how, `answer_timeout_s` how long one answer may take.
    `instead_of` is the container that ran before the stack's first engine and was stopped for it; it comes back only
    as long as no engine of the stack has served in its place.

    `state`, `definition`, `traffic` and `spare` are there to be observed: whether it runs what is declared in files
    that nobody edited, whether the gateway sends it requests, and whether a replacement left its second engine behind.
    """

    name: str
    model: str
    revision: str
    engine: str
    version: str
    device: Literal["cuda", "cpu"]
    environment: str
    weights: str = ""
    served_names: list[str]
    arguments: dict[str, Any] = {}
    variables: dict[str, str] = {}
    port: int
    folder: str
    log: str
    locks: list[str] = []
    start_timeout_s: int
    stop_timeout_s: int
    drain_timeout_s: int = 60
    cluster: str = ""
    endpoints: str = ""
    admin_port: int = 0
    image: str = ""
    secrets: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = Field(default={}, repr=False)
    address: str = _LOOPBACK
    cpus: float = 0
    memory: int = 0
    state: Literal["running", "starting", "outdated", "stopped"] = "running"
    definition: Literal["as declared", "edited by hand", "missing", "secrets with another mode"] = "as declared"
    traffic: TrafficState = "serving"
    spare: Literal["none", "left behind"] = "none"
    on_change: Literal["surge", "hold", "refuse"] = "hold"
    why: str = ""
    spare_port: int = 0
    hold_limit_s: int = 0
    prompts: list[str] = []
    asks: Asks = "text"
    answer_timeout_s: float = 120
    instead_of: str = ""

    def service(self) -> Service:
        """The service that runs this engine."""
        engine = ENGINES[self.engine]
        boxed = self.container is not None and self.container.network != "host"
        port = self.container.inside if self.container is not None and boxed else self.port
        argv = engine.command(
            self.environment or None,
            self.weights,
            dict(sorted(self.arguments.items())),  # on their way here they lose their order
            served_names=self.served_names,
            host=_EVERYWHERE if boxed else self.address,
            port=port,
        )
        return Service(
            name=self.name,
            folder=self.folder,
            argv=tuple(argv),
            environment=self.variables,
            working_directory="/" if self.container is None else ".",  # an image has its own
            log=self.log,
            locks=tuple(self.locks),
            ready=tuple(engine.ready_probe(self.environment or None, port)),
            ready_limit_s=self.start_timeout_s,
            stop_timeout_s=self.stop_timeout_s,
            about={key: getattr(self, key) for key in DECLARED} | self._later(),
            secrets=tuple(sorted(self.secrets)),
            container=self.container,
            cpus=self.cpus,
            memory=self.memory,
        )

    def _later(self) -> dict[str, object]:
        """What was added to definitions since; left out where it says nothing, so that older ones stay the same."""
        fields = type(self).model_fields
        return {key: getattr(self, key) for key in LATER if getattr(self, key) != fields[key].default}

    def route(self) -> Traffic:
        """This engine's place in the gateway's endpoints."""
        return Traffic(
            path=self.endpoints, cluster=self.cluster, address=(_LOOPBACK, self.port), admin_port=self.admin_port
        )

    def second(self) -> ReplicaWant:
        """The same engine beside this one, for as long as a surge lasts: a service, a log and a port of its own."""
        name = f"{self.name}-spare"
        container = self.container
        if container is not None:
            container = container.model_copy(update={"port": self.spare_port})
        log = f"{self.log.removesuffix('.log')}-spare.log"
        update = {"name": name, "folder": f"{self.folder}-spare", "log": log, "port": self.spare_port}
        return self.model_copy(update={**update, "container": container})
