"""What watches a stack on a Docker host: dcgm-exporter, Prometheus, Grafana, each a container on loopback."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import yaml

from berth import monitoring
from berth.gateway.xds import digest
from berth.monitoring.dashboards import SOURCE
from berth.monitoring.targets import RULES_FILE
from berth.planner.plan import MonitoringPlan, MonitorPlan, Plan
from berth.provider.docker.container import Container, Mount
from berth.provider.operations.directory import DirectoryWant
from berth.provider.operations.file import FileWant
from berth.provider.operations.process import ProcessWant
from berth.provider.operations.ready import ReadyWant
from berth.provider.resources.host import Directory, File, Process, Ready
from components.host import HostBase

_LOOPBACK = "127.0.0.1"
_STARTS_S = 120


class Monitoring(pulumi.ComponentResource):
    """The parts that are planned, wired to each other. `urls` is where each is reached on its host."""

    urls: Mapping[str, str]

    def __init__(
        self,
        name: str,
        plan: Plan,
        part: MonitoringPlan,
        host: HostBase,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("berth:index:Monitoring", name, None, opts)
        self._name, self._plan, self._part, self._host = name, plan, part, host
        self._folder = f"{host.place.workspace}/monitoring"
        parts = {"gpu": part.gpu, "prometheus": part.prometheus, "grafana": part.grafana}
        self.urls = {kind: f"http://{_LOOPBACK}:{one.port}" for kind, one in parts.items() if one is not None}
        if part.gpu is not None:
            self._gpu(part.gpu)
        if part.prometheus is not None:
            self._prometheus(part.prometheus)
        if part.grafana is not None and part.prometheus is not None:
            self._grafana(part.grafana, part.prometheus)
        self.register_outputs({"urls": dict(self.urls)})

    def _gpu(self, part: MonitorPlan) -> None:
        """dcgm-exporter with all cards; it counts profiling fields as root with SYS_ADMIN only, as NVIDIA says."""
        cards = tuple(card.index for card in self._host.place.plan.cards)
        argv = ["/usr/bin/dcgm-exporter", "--address", f"{_LOOPBACK}:{part.port}"]
        container = Container(
            image=part.image,
            network="host",
            gpus=cards,
            capabilities=("SYS_ADMIN",),
            labels=_label("gpu"),
        )
        # waits for the cards, which a container is given when it is made
        self._run("gpu", part, argv, container, "/metrics", needs=self._host.gpus_ready)

    def _prometheus(self, part: MonitorPlan) -> None:
        gpu_port = self._part.gpu.port if self._part.gpu is not None else None
        where = self._part.host
        said = {
            "prometheus.yml": _yaml(monitoring.configuration(self._plan, where, gpu_port=gpu_port)),
            RULES_FILE: _yaml(monitoring.rules(self._plan, where, gpu=gpu_port is not None)),
        }
        files = [self._file(f"prometheus/{name}", content) for name, content in said.items()]
        data, made = self._data("prometheus-data")
        folder = f"{self._folder}/prometheus"
        argv = [
            "/bin/prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={data}",
            f"--storage.tsdb.retention.time={round(self._part.retention_s)}s",
            f"--web.listen-address={_LOOPBACK}:{part.port}",
        ]
        container = self._container(part.image, "prometheus", folder, data)
        self._run("prometheus", part, argv, container, "/-/ready", needs=[*files, made], content=said)

    def _grafana(self, part: MonitorPlan, source: MonitorPlan) -> None:
        folder = f"{self._folder}/grafana"
        boards = monitoring.dashboards(self._plan, gpu=self._part.gpu is not None)
        said = {
            "provisioning/datasources/berth.yaml": _yaml(_data_source(source)),
            "provisioning/dashboards/berth.yaml": _yaml(_boards(f"{folder}/dashboards")),
            **{f"dashboards/{name}": json.dumps(board, indent=1) for name, board in boards.items()},
        }
        files = [self._file(f"grafana/{name}", content) for name, content in said.items()]
        data, made = self._data("grafana-data")
        variables = {
            "GF_SERVER_HTTP_ADDR": _LOOPBACK,
            "GF_SERVER_HTTP_PORT": str(part.port),
            "GF_PATHS_DATA": data,
            "GF_PATHS_PROVISIONING": f"{folder}/provisioning",
            "GF_AUTH_ANONYMOUS_ENABLED": "true",  # to look: whoever is on the host's loopback may
            "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION": "true",  # nobody can log in with a well-known password
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        }
        container = self._container(part.image, "grafana", folder, data)
        self._run(
            "grafana", part, ["/run.sh"], container, "/api/health", needs=[*files, made], content=said, more=variables
        )

    def _run(
        self,
        kind: str,
        part: MonitorPlan,
        argv: list[str],
        container: Container,
        path: str,
        *,
        needs: Sequence[pulumi.Resource],
        content: Mapping[str, str] | None = None,
        more: Mapping[str, str] | None = None,
    ) -> None:
        """One container, which reads its files at its start only: other contents are another environment."""
        place, name = self._host.place, f"{self._name}-{kind}"
        environment = {**(more or {}), **({"BERTH_FILES": digest(dict(content))} if content else {})}
        process = Process(
            name,
            ProcessWant(
                host=self._part.host,
                **place.supervision,
                **place.service_paths(name),
                name=name,
                argv=argv,
                environment=environment,
                ports=[part.port],
                container=container,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[*self._host.services, *needs]),
            late={"image": self._host.docker.image(part.image).content},
        )
        Ready(
            f"{name}-ready",
            ReadyWant(
                host=self._part.host,
                name=name,
                port=part.port,
                path=path,
                timeout_s=_STARTS_S,
                after={"argv": argv, "environment": environment, "image": part.image},
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[process]),
        )

    def _container(self, image: str, kind: str, folder: str, data: str) -> Container:
        """On the host's network, where all that is measured listens; as the login, who owns its files."""
        mounts = (Mount(source=folder, target=folder), Mount(source=data, target=data, writable=True))
        return Container(
            image=image,
            network="host",
            mounts=mounts,
            user=self._host.place.account,
            capabilities=(),
            labels=_label(kind),
        )

    def _file(self, name: str, content: str) -> File:
        path = f"{self._folder}/{name}"
        return File(
            f"{self._name}-{name}", FileWant(host=self._part.host, path=path, content=content), self._in_workspace()
        )

    def _data(self, name: str) -> tuple[str, Directory]:
        path = f"{self._folder}/{name}"
        want = DirectoryWant(host=self._part.host, path=path, mode="0750")
        return path, Directory(f"{self._name}-{name}", want, self._in_workspace())

    def _in_workspace(self) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=[self._host.workspace])


def _label(kind: str) -> dict[str, str]:
    return {"dev.berth.monitoring": kind}


def _yaml(value: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(value), sort_keys=False)


def _data_source(source: MonitorPlan) -> dict[str, Any]:
    """Grafana's provisioning of its data source."""
    one = {
        "name": "Prometheus",
        "uid": SOURCE,
        "type": "prometheus",
        "access": "proxy",
        "url": f"http://{_LOOPBACK}:{source.port}",
        "isDefault": True,
    }
    return {"apiVersion": 1, "datasources": [one]}


def _boards(folder: str) -> dict[str, Any]:
    """Grafana's provisioning of dashboards from files."""
    one = {"name": "Berth", "type": "file", "allowUiUpdates": False, "options": {"path": folder}}
    return {"apiVersion": 1, "providers": [one]}
