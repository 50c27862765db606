"""A whole cluster of plain processes: real control plane, real KServe, and nodes and pods that are objects alone.

kwok says of every pod on its nodes that it runs; no container does. What would answer in a pod is `engines.Engines`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.cluster.addresses import pods
from tests.cluster.control_plane import ControlPlane
from tests.cluster.parts import KSERVE, LLM_PRESETS
from tests.ports import free_port, free_ports

_SYSTEM = "kserve"
_STAGES = ("node-initialize", "pod-ready", "pod-complete", "pod-delete")
_CRDS = ("inferenceservices", "servingruntimes", "clusterservingruntimes", "clusterstoragecontainers")
_FURTHER_CRDS = ("inferencegraphs", "trainedmodels")  # the controller ends without them


class Cluster(ControlPlane):
    """A cluster with KServe's controller in the mode Standard; nodes are `node`s, and there is none at first."""

    def start(self) -> None:
        """Starts everything and waits until KServe's webhooks answer.

        Raises:
            Unavailable: a part of it ended instead.
        """
        super().start()
        with ThreadPoolExecutor() as pool:
            for part in [pool.submit(self._kubernetes), pool.submit(self._kwok), pool.submit(self._kserve)]:
                part.result()
        self.until(lambda: self.get("/api/v1/namespaces/default/serviceaccounts/default"), "kube-controller-manager")

    def node(self, name: str, *, gpus: int, labels: Mapping[str, str] | None = None, tainted: bool = False) -> None:
        """Makes a node with 16 cores, 128 GiB and GPUs; `tainted` as nodes with GPUs often are."""
        room = {"cpu": "16", "memory": "128Gi", "pods": "110", "nvidia.com/gpu": str(gpus)}
        taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
        self.create(
            "/api/v1/nodes",
            {
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
                "spec": {"taints": [taint] if tainted else []},
                "status": {"capacity": room, "allocatable": room},
            },
        )
        self.until(lambda: _ready(self.get(f"/api/v1/nodes/{name}")), f"node {name}")

    def namespace(self, name: str) -> None:
        """Makes a namespace and waits until pods can be made in it."""
        self.create("/api/v1/namespaces", {"metadata": {"name": name}})
        self.until(lambda: self.get(f"/api/v1/namespaces/{name}/serviceaccounts/default"), f"namespace {name}")

    def _kubernetes(self) -> None:
        api = ("--kubeconfig", self.kubeconfig, "--bind-address", "127.0.0.1", "--leader-elect=false")
        for program, own in (
            (
                "kube-controller-manager",
                (
                    *("--service-account-private-key-file", self.folder / "tls.key"),
                    *("--root-ca-file", self.folder / "tls.crt"),
                    *("--kube-api-qps", "200", "--kube-api-burst", "400"),
                    *("--namespace-sync-period", "10s", "--horizontal-pod-autoscaler-sync-period", "1h"),
                    # On a machine under load kwok is late, and what it calls ready is not made so again.
                    *("--node-monitor-grace-period", "1h"),
                ),
            ),
            ("kube-scheduler", ("--kube-api-qps", "200", "--kube-api-burst", "400")),
        ):
            self.run(program, *api, "--secure-port", str(free_port()), *own)

    def _kwok(self) -> None:
        stages = [one for name in _STAGES for one in self.parts.objects(f"stages/{name}")]
        (self.folder / "stages.yaml").write_text(yaml.safe_dump_all(stages))
        self.run(
            "kwok",
            *("--kubeconfig", self.kubeconfig, "--config", self.folder / "stages.yaml", "--manage-all-nodes"),
            *("--cidr", pods(), "--node-ip", "127.0.0.1", "--server-address", f"127.0.0.1:{free_port()}"),
        )

    def _kserve(self) -> None:
        self.crds(KSERVE, (*_CRDS, *_FURTHER_CRDS))
        self.install(["openshift/routes.crd"])
        self.create("/api/v1/namespaces", {"metadata": {"name": _SYSTEM, "labels": {"control-plane": "kserve"}}})
        (configuration,) = self.parts.objects("configuration")
        configuration["data"]["deploy"] = json.dumps({"defaultDeploymentMode": "Standard"})
        self.create(f"/api/v1/namespaces/{_SYSTEM}/configmaps", configuration)
        (storage,) = self.parts.objects("storage")
        self.create("/apis/serving.kserve.io/v1alpha1/clusterstoragecontainers", storage)
        metrics, probes, hooks = free_ports(3)
        certificates = self.folder / "k8s-webhook-server/serving-certs"  # below TMPDIR, where the controller looks
        certificates.mkdir(parents=True)
        for name in ("tls.crt", "tls.key"):
            (certificates / name).write_bytes((self.folder / name).read_bytes())
        self.run(
            "kserve",
            *("--metrics-addr", f"127.0.0.1:{metrics}", "--health-probe-addr", f"127.0.0.1:{probes}"),
            *("--webhook-port", str(hooks)),
            environment={"POD_NAMESPACE": _SYSTEM, "KUBECONFIG": str(self.kubeconfig), "TMPDIR": str(self.folder)},
        )
        self.until(lambda: requests.get(f"http://127.0.0.1:{probes}/readyz", timeout=5).ok, "kserve")
        self._webhooks("webhooks", hooks)

    def serve_llm(self, program: Path) -> None:
        """Starts KServe's controller for LLMInferenceServices too, with the presets that it asks for.

        Raises:
            Unavailable: it ended instead.
        """
        self.crds(KSERVE, ("llminferenceservices", "llminferenceserviceconfigs"))
        self.install(["leaderworkersets", "httproutes", "gateways"])
        for name in LLM_PRESETS:
            (preset,) = self.parts.objects(f"llm-{name}")
            self.create(f"/apis/serving.kserve.io/v1alpha2/namespaces/{_SYSTEM}/llminferenceserviceconfigs", preset)
        metrics, probes, hooks = free_ports(3)
        self.run(
            "llmisvc",
            *("--metrics-addr", f"127.0.0.1:{metrics}", "--health-probe-addr", f"127.0.0.1:{probes}"),
            *("--metrics-secure=false", "--webhook-port", str(hooks)),
            environment={"POD_NAMESPACE": _SYSTEM, "KUBECONFIG": str(self.kubeconfig), "TMPDIR": str(self.folder)},
            path=program,
        )
        self.until(lambda: requests.get(f"http://127.0.0.1:{probes}/readyz", timeout=5).ok, "llmisvc")
        self._webhooks("llm-webhooks", hooks)

    def _webhooks(self, file: str, port: int) -> None:
        """Registers the webhooks as the module has them, by an address instead of a service."""
        authority = base64.b64encode((self.folder / "tls.crt").read_bytes()).decode()
        for document in self.parts.objects(file):
            for hook in document["webhooks"]:
                path = hook["clientConfig"]["service"]["path"]
                hook["clientConfig"] = {"url": f"https://127.0.0.1:{port}{path}", "caBundle": authority}
            kind = f"{document['kind'].lower()}s"
            self.create(f"/apis/admissionregistration.k8s.io/v1/{kind}", document)


def _ready(node: Mapping[str, Any] | None) -> bool:
    conditions = (node or {}).get("status", {}).get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
