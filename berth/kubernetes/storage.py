"""Where a service's weights come from, and the secrets and the account that open them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from berth.kubernetes.services import Service
from berth.kubernetes.values import Object, metadata, placeholder
from berth.planner.plan import (
    POD_ADAPTERS,
    ClusterPlan,
    DataConnectionPlan,
    HubWeights,
    OciWeights,
    PvcWeights,
    S3Weights,
    Weights,
)

MODEL_FOLDER: Final = "/mnt/models"
"""Where KServe's storage initializer puts a model."""

HUB_TOKEN: Final = "HF_TOKEN"  # noqa: S105 - the name of a variable
"""The variable of the hub's token, and the key of a secret by which the storage initializer knows it."""


def connection(cluster: ClusterPlan, name: str, said: DataConnectionPlan, labels: Mapping[str, str]) -> Object:
    """The secret of a data connection in the form that the platform wants.

    OpenShift AI's controller gathers labelled connections into its storage-config; KServe reads keys and annotations of
    a secret that a ServiceAccount names.
    """
    keys = {
        "AWS_ACCESS_KEY_ID": placeholder(said.access_key),
        "AWS_SECRET_ACCESS_KEY": placeholder(said.secret_key),
    }
    if cluster.kind == "openshift-ai":
        marks = {"opendatahub.io/managed": "true", "opendatahub.io/dashboard": "true"}
        about = {"opendatahub.io/connection-type": "s3", "openshift.io/display-name": name}
        place = {
            "AWS_S3_ENDPOINT": said.endpoint,
            "AWS_S3_BUCKET": said.bucket,
            "AWS_DEFAULT_REGION": said.region,
        }
        return _secret(metadata(name, cluster.namespace, {**labels, **marks}, about), {**keys, **place})
    scheme, _, address = said.endpoint.partition("://")
    about = {
        "serving.kserve.io/s3-endpoint": address.rstrip("/"),
        "serving.kserve.io/s3-usehttps": "1" if scheme == "https" else "0",
        "serving.kserve.io/s3-region": said.region,
    }
    return _secret(metadata(name, cluster.namespace, labels, about), keys)


def secrets(service: Service) -> Iterator[Object]:
    """The secrets of one service: the hub's token, and the values of its environment."""
    if token := hub_token(service):
        yield _secret(_metadata(service, token_name(service)), {HUB_TOKEN: placeholder(token)})
    if service.replica.secrets:
        values = {variable: placeholder(secret) for variable, secret in service.replica.secrets.items()}
        yield _secret(_metadata(service, environment_name(service)), values)


def account(service: Service) -> Object | None:
    """The account by which the download gets its credentials: KServe mounts what a ServiceAccount names, no more."""
    named = list(_credentials(service))
    if not named:
        return None
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(service, service.name),
        "secrets": [{"name": name} for name in named],
    }


def model_source(service: Service) -> Object:
    """The fields of a model that say where its weights are; none where adapters come with them."""
    weights = service.replica.weights
    if service.pod.adapters:
        return {}
    if isinstance(weights, S3Weights) and weights.connection and service.dashboard:
        bucket, path = _bucket(weights.url)
        extra = {"parameters": {"bucket": bucket}} if bucket else {}
        return {"storage": {"key": weights.connection, "path": path, **extra}}
    return {"storageUri": uri(service.cluster, weights)}


def predictor_sources(service: Service) -> Object:
    """The fields of a predictor that say where model and adapters are, where there are adapters."""
    if not service.pod.adapters:
        return {}
    found = [{"uri": uri(service.cluster, service.replica.weights), "mountPath": MODEL_FOLDER}]
    for number, adapter in enumerate(service.pod.adapters):
        found.append({"uri": uri(service.cluster, adapter), "mountPath": f"{POD_ADAPTERS}/{number}"})
    return {"storageUris": found}


def uri(cluster: ClusterPlan, weights: Weights) -> str:
    """The address of weights as KServe's storage initializer reads it.

    Raises:
        ValueError: they are of a kind that no pod can reach; the planner refuses those.
    """
    match weights:
        case HubWeights():
            return f"hf://{weights.repo}:{weights.revision}"
        case OciWeights():
            return f"oci://{weights.image}"
        case PvcWeights():
            return f"pvc://{weights.claim}/{weights.path}".rstrip("/")
        case S3Weights():
            bucket, path = _bucket(weights.url)
            known = cluster.connections.get(weights.connection or "")
            return f"s3://{bucket or (known.bucket if known else '')}/{path}"
    raise ValueError(f"{weights} is not on a cluster")


def hub_token(service: Service) -> str | None:
    """The name of the secret with the hub's token, of the model or of an adapter."""
    sources = (service.replica.weights, *service.pod.adapters)
    return next((one.token for one in sources if isinstance(one, HubWeights) and one.token is not None), None)


def token_name(service: Service) -> str:
    """The name of the secret that holds the hub's token on the cluster."""
    return f"{service.name}-hub"


def environment_name(service: Service) -> str:
    """The name of the secret that holds secret variables of the engine."""
    return f"{service.name}-environment"


def _credentials(service: Service) -> Iterator[str]:
    if hub_token(service) is not None:
        yield token_name(service)
    weights = service.replica.weights
    if isinstance(weights, S3Weights) and weights.connection and not service.dashboard:
        yield weights.connection


def _bucket(url: str) -> tuple[str, str]:
    """The bucket of an address (none in a bare folder) and the folder."""
    if not url.startswith("s3://"):
        return "", url
    bucket, _, path = url.removeprefix("s3://").partition("/")
    return bucket, path


def _metadata(service: Service, name: str) -> Object:
    return metadata(name, service.cluster.namespace, service.labels)


def _secret(about: Object, values: Mapping[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": about, "type": "Opaque", "stringData": dict(values)}
