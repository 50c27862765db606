"""Whose the fields of an object are once it is taken over, and what a preview says of it."""

from __future__ import annotations

from typing import Any

import pytest

from berth.provider.host import Hosts, HostSettings
from berth.provider.operations.takeover import Known, Takeover, TakeoverWant, changed_lines, taken
from tests.provider.kubernetes.api_standin import answering


def entry(manager: str, fields: dict[str, Any], **said: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields, **said}


def test_what_people_have_set_is_ours_and_what_controllers_write_stays_theirs() -> None:
    status = entry("manager", {"f:status": {"f:url": {}}}, subresource="status")
    finalizers = entry("manager", {"f:metadata": {"f:finalizers": {".": {}}}})
    person = entry("kubectl-client-side-apply", {"f:spec": {"f:a": {}}, "f:metadata": {"f:annotations": {}}}, time="1")
    other = entry("kubectl-edit", {"f:spec": {"f:a": {}, "f:b": {"f:c": {}}}}, time="2")
    live = {"apiVersion": "v1", "metadata": {"managedFields": [person, status, finalizers, other]}}
    *kept, ours = taken(live, "berth")
    assert kept == [status, finalizers]
    assert ours == {
        "manager": "berth",
        "operation": "Apply",
        "apiVersion": "v1",
        "time": "2",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:a": {}, "f:b": {"f:c": {}}}, "f:metadata": {"f:annotations": {}}},
    }


def test_what_nobody_has_set_has_no_new_owner() -> None:
    status = entry("manager", {"f:status": {}}, subresource="status")
    assert taken({"apiVersion": "v1", "metadata": {"managedFields": [status]}}, "berth") == [status]


def test_changes_are_told_by_their_path() -> None:
    live = {"spec": {"args": ["a"], "timeout": 7, "notes": {"a.b/c": "x"}}}
    made = {"spec": {"args": ["b", "c"], "notes": {"a.b/c": "y"}}}
    assert list(changed_lines(live, made)) == [
        'spec.args[0] is "a", will be "b"',
        'spec.args[1] will be "c"',
        'spec.notes["a.b/c"] is "x", will be "y"',
        "spec.timeout is 7, and goes",
    ]


@pytest.mark.parametrize(
    ("version", "kind", "path"),
    [
        ("v1", "Secret", "/api/v1/namespaces/n/secrets"),
        ("networking.k8s.io/v1", "Ingress", "/apis/networking.k8s.io/v1/namespaces/n/ingresses"),
        ("a.io/v1alpha1", "ServingRuntime", "/apis/a.io/v1alpha1/namespaces/n/servingruntimes"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute", "/apis/gateway.networking.k8s.io/v1/namespaces/n/httproutes"),
    ],
)
def test_objects_lie_where_the_api_has_them(version: str, kind: str, path: str) -> None:
    assert Known(api_version=version, kind=kind, name="x").path("n") == path


async def test_accounts_keep_what_controllers_list_in_them() -> None:
    """What is sent to this server fails, so that nothing was."""
    path = "/api/v1/namespaces/llm/serviceaccounts/m"
    lists = entry("openshift", {"f:secrets": {}, "f:imagePullSecrets": {}})
    about = {"name": "m", "resourceVersion": "1", "managedFields": [lists]}
    known = Known(api_version="v1", kind="ServiceAccount", name="m")
    want = TakeoverWant(host="k", namespace="llm", stack="s", manager="berth", objects=(known,))
    with answering({path: {"apiVersion": "v1", "metadata": about}}) as kubeconfig:
        hosts = Hosts({"k": HostSettings.model_validate({"connection": {"cluster": {"kubeconfig": kubeconfig}}})})
        try:
            host = await hosts.writer("k", print)
            assert await Takeover().announced(host, want) == [
                "ServiceAccount m in namespace llm is taken over, with what others have added to it"
            ]
            assert await Takeover().converge(host, want, want) == want
        finally:
            await hosts.close()
