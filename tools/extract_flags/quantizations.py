"""The quantization methods of a vLLM release and the compute capability each needs, read without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

_NO_FLOOR = 0


def quantizations(folder: Path) -> dict[str, int]:
    """Method to minimum capability in tenths (80 is 8.0); 0 where none is said or the method is for another device."""
    package = folder / "vllm/model_executor/layers/quantization"
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    modules = {
        alias.asname or alias.name: (package if node.level else folder).joinpath(*(node.module or "").split("."))
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    methods = literal(package / "__init__.py", "QuantizationMethods")
    classes = _classes_by_method(tree)
    return {method: _floor(modules, classes.get(method, "")) for method in methods}


def literal(path: Path, name: str) -> list[str]:
    """The words of a module's `NAME = Literal[…]`, sorted; none when it has no such line."""
    if not path.is_file():
        return []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return sorted(str(ast.literal_eval(part)) for part in ast.walk(node.value) if _is_text(part))
    return []


def _classes_by_method(tree: ast.Module) -> dict[str, str]:
    """The dictionary in get_quantization_config: method to the name of its class."""
    return {
        str(ast.literal_eval(key)): ast.unparse(value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if key is not None and _is_text(key)
    }


def _floor(modules: dict[str, Path], name: str) -> int:
    """What the class, or the first of its bases in the same file, returns from get_min_capability."""
    module = modules.get(name, Path())
    path = module.with_suffix(".py") if module.name else module
    if not path.is_file():
        path = module / "__init__.py"
    if not path.is_file():
        return _NO_FLOOR
    classes = {
        node.name: node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)
    }
    while name in classes:
        for found in _returned(classes[name]):
            return max(found, _NO_FLOOR)
        name = next((ast.unparse(base) for base in classes[name].bases if ast.unparse(base) in classes), "")
    return _NO_FLOOR


def _returned(node: ast.ClassDef) -> Iterator[int]:
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == "get_min_capability":
            for statement in ast.walk(method):
                if isinstance(statement, ast.Return) and statement.value is not None:
                    value = ast.unparse(statement.value)
                    if value.lstrip("-").isdigit():
                        yield int(value)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
