"""What KServe's and OpenShift AI's webhooks refuse, and what they let through that then does not work.

Each rule names its source. They are for objects as written, whoever wrote them, so that a mistake is known before
anything is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from berth.kubernetes.values import Object

Found = Iterator[tuple[str, str]]
"""Where in an object and what is wrong there."""

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LONGEST_NAME: Final = 48
"""The label that finds the pods is `isvc.<name>-predictor`, and a label's value has 63 characters at most."""

_CLASSES = ("hpa", "external", "keda", "none")
_OPERATORS = ("redhat-ods-applications", "opendatahub")
_RAW = ("Standard", "RawDeployment")
_FRAMEWORKS = (
    *("model", "sklearn", "xgboost", "tensorflow", "pytorch", "triton", "onnx", "huggingface", "pmml", "lightgbm"),
    *("paddle", "containers"),
)


def problems(one: Object, others: Sequence[Object]) -> Found:
    """What is wrong with an object of KServe; `others` are all objects of its cluster that are known here."""
    if one["kind"] == "InferenceService":
        for rule in _SERVICE:
            yield from rule(one)
        yield from _runtime(one, others)
    elif one["kind"] == "ServingRuntime":
        for number, container in enumerate(one["spec"].get("containers", ())):
            yield from _container(container, f"spec.containers[{number}]")
    elif one["kind"] == "LLMInferenceService":
        yield from _llm(one)


def _name(one: Object) -> Found:
    """inference_service_validation.go, validateInferenceServiceName; the length is Kubernetes' own."""
    name = one["metadata"]["name"]
    if _NAME.fullmatch(name) is None:
        yield "metadata.name", f"is {name}, must be lower-case letters, digits and dashes and start with a letter"
    if len(name) > LONGEST_NAME:
        text = f"has {len(name)} characters, must have {LONGEST_NAME} at most: KServe makes a label of it; shorten it"
        yield "metadata.name", text
    if one["metadata"].get("namespace") in _OPERATORS and "opendatahub.io/dashboard" in one["metadata"]["labels"]:
        text = "is the operator's own, in which OpenShift AI refuses services; choose another"
        yield "metadata.namespace", f"{one['metadata']['namespace']} {text}"


def _autoscaler(one: Object) -> Found:
    """As validateInferenceServiceAutoscaler and validateScalingKPACompExtension."""
    notes, predictor = one["metadata"].get("annotations", {}), one["spec"]["predictor"]
    found = notes.get("serving.kserve.io/autoscalerClass")
    if found is not None and found not in _CLASSES:
        where = "metadata.annotations.serving.kserve.io/autoscalerClass"
        yield where, f"is {found}, must be one of {', '.join(_CLASSES)}"
    if notes.get("serving.kserve.io/deploymentMode") not in _RAW and "deploymentStrategy" in predictor:
        text = "is given, must be left out: Knative replaces pods in its own way"
        yield "spec.predictor.deploymentStrategy", text
    least, most = predictor.get("minReplicas", 1), predictor.get("maxReplicas", 0)
    if most and least > most:
        yield "spec.predictor.minReplicas", f"is {least}, must be at most maxReplicas ({most})"


def _implementation(one: Object) -> Found:
    """As validateExactlyOneImplementation and validatePredictor."""
    predictor = one["spec"]["predictor"]
    said = [name for name in _FRAMEWORKS if name in predictor]
    if len(said) != 1:
        yield "spec.predictor", f"has {' and '.join(said) or 'no model'}, must have exactly one, such as model"
    if predictor.get("model", {}).get("name"):
        text = f"is {predictor['model']['name']!r}, must be left out: the webhook allows no name there"
        yield "spec.predictor.model.name", text


def _storage(one: Object) -> Found:
    """As validateMultipleStorageURIs, and addStorageInitializerAnnotations of the controller."""
    predictor = one["spec"]["predictor"]
    model = predictor.get("model", {})
    said = [name for name in ("storageUri", "storage") if name in model]
    said += ["storageUris"] if "storageUris" in predictor else []
    if len(said) > 1:
        yield "spec.predictor", f"has {' and '.join(said)}, must have one of them"
    paths = [entry.get("mountPath", "/mnt/models") for entry in predictor.get("storageUris", ())]
    for number, path in enumerate(paths):
        if not path.startswith("/") or path == "/" or ".." in path:
            text = f"is {path}, must be an absolute path below / without .."
            yield f"spec.predictor.storageUris[{number}].mountPath", text
    if len({path.split("/")[1] for path in paths if path.startswith("/")}) > 1:
        yield "spec.predictor.storageUris", f"has {', '.join(paths)}, must have one folder above all of them"


def _own_container(one: Object) -> Found:
    yield from _container(one["spec"]["predictor"].get("model", {}), "spec.predictor.model")


def _container(container: Mapping[str, Any], where: str) -> Found:
    """What a container must not have, whichever object it stands in."""
    for number, variable in enumerate(container.get("env", ())):
        if variable["name"] == "PYTHONPATH":
            text = "is PYTHONPATH, which KServe refuses from 0.20 on; install what it leads to in the image"
            yield f"{where}.env[{number}]", text
    for number, word in enumerate(container.get("args", ())):
        if "{{" in word.replace("{{.Name}}", ""):
            text = "holds {{, which KServe reads as a template and not as text; pass it in a file"
            yield f"{where}.args[{number}]", text
    image = container.get("image")
    if image is not None and (image.endswith(":latest") or not re.search(r"[:@][^/]+$", image)):
        yield f"{where}.image", f"is {image}, must be pinned by tag or digest: what runs would change by itself"
    asked = container.get("resources", {})
    for name, limit in asked.get("limits", {}).items():
        if "/" in name and asked.get("requests", {}).get(name, limit) != limit:
            text = f"is {asked['requests'][name]} of {name}, must be its limit ({limit}): cards cannot be overcommitted"
            yield f"{where}.resources.requests", text


def _runtime(one: Object, others: Sequence[Object]) -> Found:
    """A runtime by its resource name, which supports the model, and does not say the same flags as it."""
    model = one["spec"]["predictor"].get("model", {})
    runtimes = {other["metadata"]["name"]: other for other in others if other["kind"] == "ServingRuntime"}
    name = model.get("runtime")
    if name is None:
        text = "is not said: KServe would take any runtime of that format; must be a ServingRuntime's name"
        yield "spec.predictor.model.runtime", text
        return
    shown = {
        other["metadata"].get("annotations", {}).get("openshift.io/display-name"): key
        for key, other in runtimes.items()
    }
    if name in shown and name not in runtimes:
        text = f"is {name!r}, which is what the dashboard shows; must be the resource's name, {shown[name]}"
        yield "spec.predictor.model.runtime", text
    if name not in runtimes:
        return
    spec = runtimes[name]["spec"]
    formats = [known["name"] for known in spec.get("supportedModelFormats", ())]
    if model.get("modelFormat", {}).get("name") not in formats:
        text = f"is {model.get('modelFormat', {}).get('name')}, must be one of runtime {name}: {', '.join(formats)}"
        yield "spec.predictor.model.modelFormat.name", text
    # utils.go, MergeRuntimeContainers: arguments of both are joined, and of two values the engine takes the last.
    fixed = {_flag(word) for word in spec["containers"][0].get("args", ()) if word.startswith("--")}
    for number, word in enumerate(model.get("args", ())):
        if word.startswith("--") and _flag(word) in fixed:
            text = f"is {_flag(word)}, which runtime {name} gives already; must be said once"
            yield f"spec.predictor.model.args[{number}]", text


def _llm(one: Object) -> Found:
    """The CEL rules and the webhook of LLMInferenceService, as far as our objects can meet them."""
    spec = one["spec"]
    if "replicas" in spec and "scaling" in spec:
        yield "spec.scaling", "is given beside replicas, must be one of the two"
    containers = spec.get("template", {}).get("containers", ())
    if containers and all(container["name"] != "main" for container in containers):
        yield "spec.template.containers", "has none called main, must have it: KServe serves the model from that one"
    for number, container in enumerate(containers):
        yield from _container(container, f"spec.template.containers[{number}]")


def _flag(word: str) -> str:
    return word.partition("=")[0]


_SERVICE: tuple[Callable[[Object], Found], ...] = (_name, _autoscaler, _implementation, _storage, _own_container)
