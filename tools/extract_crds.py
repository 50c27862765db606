"""Takes the schemas of KServe's objects out of a release's Go module, without what nothing of ours uses.

    go mod download github.com/kserve/kserve@v0.17.0
    python -m tools.extract_crds "$(go env GOMODCACHE)"/github.com/kserve/kserve@v0.17.0

Each becomes berth/kubernetes/schemas/<release>/<kind>.json: descriptions are dropped, parts that occur several times
are written once, and objects that have fields refuse all others, as the API server does with strict validation.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import yaml

SCHEMAS = Path(__file__).parents[1] / "berth" / "kubernetes" / "schemas"

KINDS = {
    "servingruntimes": (),
    "inferenceservices": (
        *("spec.transformer", "spec.explainer", "spec.canary", "status", "spec.predictor.workerSpec"),
        *("spec.predictor.logger", "spec.predictor.batcher"),
        *(
            f"spec.predictor.{framework}"
            for framework in (
                *("huggingface", "lightgbm", "onnx", "paddle", "pmml", "pytorch", "sklearn", "tensorflow", "triton"),
                "xgboost",
            )
        ),
    ),
    "llminferenceservices": ("status", "spec.prefill", "spec.router.scheduler", "spec.router.route.http.spec"),
}
"""The plural of each kind, and the parts of it that no object of ours has."""

_KEPT = {
    *("type", "properties", "items", "required", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength"),
    *("minItems", "maxItems", "anyOf", "oneOf", "allOf", "not", "additionalProperties", "format"),
}
_REPEATED = 200  # characters from which on a part that occurs twice is worth a name


def main(module: Path) -> None:
    """Write the schemas of one release."""
    release = module.name.partition("@v")[2]
    folder = SCHEMAS / ".".join(release.split(".")[:2])
    folder.mkdir(parents=True, exist_ok=True)
    for plural, left_out in KINDS.items():
        found = sorted((module / "config" / "crd" / "full").rglob(f"serving.kserve.io_{plural}.yaml"))
        if not found:
            continue
        definition = yaml.load(found[0].read_text(), Loader=yaml.CSafeLoader)
        version = next(one for one in definition["spec"]["versions"] if one["storage"])
        schema = _trimmed(_without(version["schema"]["openAPIV3Schema"], left_out))
        schema["properties"]["metadata"] = {"type": "object"}
        kind = definition["spec"]["names"]["kind"]
        origin = f"{found[0].relative_to(module)} of the Go module github.com/kserve/kserve v{release} (Apache-2.0)"
        definitions = _shared(schema)
        document = {"$comment": f"Trimmed by tools/extract_crds.py from {origin}", "$defs": definitions, **schema}
        text = json.dumps(document, sort_keys=True, indent=1)
        (folder / f"{kind}.{version['name']}.json").write_text(text + "\n")


def _without(schema: dict[str, Any], paths: tuple[str, ...]) -> dict[str, Any]:
    for path in paths:
        *parents, last = path.split(".")
        part = schema
        for name in parents:
            part = part["properties"].get(name, {"properties": {}})
        part["properties"].pop(last, None)
    return schema


def _trimmed(schema: Any) -> Any:
    """What decides whether a value is right, in the words of JSON Schema."""
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key in _KEPT}
    if "properties" in kept:
        kept["properties"] = {name: _trimmed(part) for name, part in kept["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            kept.setdefault("additionalProperties", False)
    if isinstance(kept.get("additionalProperties"), dict):
        kept["additionalProperties"] = _trimmed(kept["additionalProperties"])
    if "items" in kept:
        kept["items"] = _trimmed(kept["items"])
    for key in ("anyOf", "oneOf", "allOf"):
        if key in kept:
            kept[key] = [_trimmed(part) for part in kept[key]]
    if schema.get("x-kubernetes-int-or-string"):
        kept.pop("type", None)
    return kept


def _shared(schema: dict[str, Any]) -> dict[str, Any]:
    """Replaces parts that occur several times by references, from the innermost on; returns the parts by name."""
    counts: dict[str, int] = {}

    def visit(part: Any, *, count: bool) -> Any:
        if isinstance(part, list):
            return [visit(one, count=count) for one in part]
        if not isinstance(part, dict):
            return part
        inner = {key: visit(value, count=count) for key, value in part.items()}
        text = json.dumps(inner, sort_keys=True)
        if len(text) < _REPEATED or ("type" not in inner and "properties" not in inner) or part is schema:
            return inner
        name = hashlib.sha256(text.encode()).hexdigest()[:12]
        counts[name] = counts.get(name, 0) + count
        if counts[name] < 2 or not isinstance(inner.get("type"), str):
            return inner
        shared[name] = inner
        return {"$ref": f"#/$defs/{name}"}

    shared: dict[str, Any] = {}
    visit(schema, count=True)
    shared.clear()
    # The second walk meets each name with its final count, so that the first occurrence is replaced too.
    schema.update(visit(schema, count=False))
    return shared


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        main(Path(argument))
