"""An engine as a container of a pod: its command and arguments, what it asks of its node, when it counts as started."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from berth.catalogue.units import Bytes
from berth.engines.contract import flags
from berth.engines.registry import ENGINES
from berth.kubernetes import alive
from berth.kubernetes.services import Service
from berth.kubernetes.storage import HUB_TOKEN, MODEL_FOLDER, environment_name, hub_token, token_name
from berth.kubernetes.values import Object, cpu, memory
from berth.planner.plan import ImageEngine, InstancePlan

FORMATS: Final = {"vllm": "vLLM", "sglang": "SGLang", "tgi": "TGI"}
"""The names of model formats by which a service and its runtime find each other; vLLM's is OpenShift AI's own."""

_SERVED: Final = "{{.Name}}"
"""Becomes the name of the InferenceService."""

_READING_SPEED = 100 * 10**6  # bytes a second; a network volume under load, a tenth of a local disk
_OTHER_START_S = 300  # compiling, profiling, capturing graphs
_DEFAULT = InstancePlan(cpus=8, memory=Bytes(24 * 2**30), least_cpus=2, least_memory=Bytes(8 * 2**30))
"""Where the stack file names no instance type. KServe would give it one core and 2 GiB, in which no engine starts."""


def command(service: Service) -> list[str]:
    """The program that starts the engine, without its arguments."""
    if service.replica.engine.name == "vllm":
        # The module, which takes --model as the runtimes of KServe and OpenShift AI say it, in all releases.
        return ["python3", "-m", "vllm.entrypoints.openai.api_server"]
    return _words(service)[0]


def fixed_arguments(service: Service) -> list[str]:
    """The arguments that every model of a runtime has: where it listens, what it reads, what it is called."""
    if service.replica.engine.name != "vllm":
        return _words(service)[1]
    placeholder = service.pod.service == "inference"
    called = [_SERVED if placeholder and name == service.name else name for name in service.names]
    served = [f"--served-model-name={called[0]}"] if len(called) == 1 else ["--served-model-name", *called]
    return [f"--port={service.port}", f"--model={MODEL_FOLDER}", *served]


def arguments(service: Service) -> list[str]:
    """The model's own arguments, each one word where it can be, so that a change is seen at its place."""
    found: list[str] = []
    for name, value in service.replica.arguments.items():
        words = flags({name: value})
        found += [f"{words[0]}={words[1]}"] if len(words) == 2 else words
    return found


def image(service: Service) -> str:
    """The engine's image, by digest where the stack file gives one."""
    installation = service.replica.engine.installation
    return installation.image if isinstance(installation, ImageEngine) else ""


def environment(service: Service) -> list[Object]:
    """The variables that the engine needs anywhere, and those of the stack file.

    The device plugin says which cards are visible, so that nothing here may.
    """
    engine = ENGINES[service.replica.engine.name]
    own = engine.environment_variables("cpu", version=service.replica.engine.version, offline=True)
    # A pod of OpenShift runs as a user without a home, and caches of compiled kernels go there.
    home = {"HOME": "/tmp", "HF_HOME": "/tmp/hf_home"}  # noqa: S108 - the pod's own, which nobody else writes to
    found = {**home, **own, **service.replica.environment}
    return [{"name": name, "value": value} for name, value in found.items()]


def secret_environment(service: Service) -> list[Object]:
    """The variables whose values are secrets."""
    found = [_from_secret(name, environment_name(service)) for name in service.replica.secrets]
    if hub_token(service) is not None and HUB_TOKEN not in service.replica.secrets:
        found.append(_from_secret(HUB_TOKEN, token_name(service)))
    return found


def resources(service: Service) -> Object:
    """What a pod asks for; cards are the same in requests and limits, or the API server refuses them."""
    said = service.replica.instance or _DEFAULT
    shared = shared_memory(service) or Bytes(0)
    cards = {service.pod.resource: str(service.pod.gpus)} if service.pod.gpus else {}
    own = service.replica.instance is not None
    least_memory = said.least_memory or said.memory or Bytes(0)
    # What lies in /dev/shm counts against the limit, so that a limit of our own choice leaves room for it.
    most_memory = said.memory or least_memory
    most = {
        "cpu": cpu(said.cpus or said.least_cpus or 1),
        "memory": memory(most_memory if own else most_memory + shared),
    }
    least = {"cpu": cpu(said.least_cpus or said.cpus or 1), "memory": memory(least_memory)}
    return {"requests": {**least, **cards}, "limits": {**most, **cards}}


def shared_memory(service: Service) -> Bytes | None:
    """The size of /dev/shm: as the instance type says, or one that ranks on several cards get by with.

    None leaves the container runtime's 64 MiB, with which two ranks do not start.
    """
    said = service.replica.instance.shared_memory if service.replica.instance is not None else None
    return said or (Bytes(service.pod.gpus * 2**30) if service.pod.gpus > 1 else None)


def probes(service: Service) -> Object:
    """When the engine counts as started, ready and alive."""
    engine = ENGINES[service.replica.engine.name]
    started = {"startupProbe": _probe(service, engine.probe_path, 10, math.ceil(start_budget_s(service) / 10))}
    if service.pod.runtime is not None or not service.standard:
        # A busy engine answers late, a dead one refuses the connection. What image runs there is not known, or Knative
        # asks for itself.
        ready, living = _probe(service, engine.health_path, 10, 3), _probe(service, engine.health_path, 20, 6)
        return {**started, "readinessProbe": ready, "livenessProbe": living}
    computes = {"exec": {"command": alive.command(service.port)}, "timeoutSeconds": alive.TIMEOUT_S}
    return {
        **started,
        # Out of the rotation by two looks, since one has no memory; started again only after two minutes, since that
        # takes minutes too.
        "readinessProbe": {**computes, "periodSeconds": 10, "failureThreshold": 2},
        "livenessProbe": {**computes, "periodSeconds": 20, "failureThreshold": 6},
    }


def start_budget_s(service: Service) -> float:
    """How long a start may take, in seconds: what the stack file allows, more where the model is large."""
    reading = (service.pod.weights or 0) / _READING_SPEED
    return max(service.replica.start_timeout_s, _OTHER_START_S + reading)


def volumes(service: Service) -> Iterator[tuple[Object, Object]]:
    """Volumes of the pod, each with its mount."""
    size = shared_memory(service)
    if size is not None:
        volume = {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": memory(size)}}
        yield volume, {"name": "shared-memory", "mountPath": "/dev/shm"}  # noqa: S108 - a mount point


def _words(service: Service) -> tuple[list[str], list[str]]:
    """Program and fixed arguments of an engine as its own module starts it."""
    engine = ENGINES[service.replica.engine.name]
    words = engine.command(
        None,
        MODEL_FOLDER,
        {},
        served_names=service.names,
        host="0.0.0.0",  # noqa: S104 - a pod's own address, which is not known before it runs
        port=service.port,
    )
    first = next((number for number, word in enumerate(words) if word.startswith("--")), len(words))
    return words[:first], words[first:]


def _from_secret(variable: str, secret: str) -> Object:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": variable}}}


def _probe(service: Service, path: str, period_s: int, failures: int) -> Object:
    """A question over HTTP; the answer may take as long as until the next one is due."""
    return {
        "httpGet": {"path": path, "port": service.port, "scheme": "HTTP"},
        "periodSeconds": period_s,
        "timeoutSeconds": 10,
        "failureThreshold": failures,
    }
