"""From a plan to the Kubernetes objects of one cluster. Pure: nothing is read, nothing is sent."""

from berth.kubernetes.manifest import file_name, to_yaml
from berth.kubernetes.objects import ASSUMED, kserve_version, objects
from berth.kubernetes.validation import problems
from berth.kubernetes.values import Object, filled, generated_names, placeholder, secret_names

__all__ = [
    "ASSUMED",
    "Object",
    "file_name",
    "filled",
    "generated_names",
    "kserve_version",
    "objects",
    "placeholder",
    "problems",
    "secret_names",
    "to_yaml",
]
