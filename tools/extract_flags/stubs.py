"""Stands for every module that a flag table does not need, so that an engine's parser loads without its packages.

An engine's argument parser pulls in torch, transformers and kernels that only running a model needs. Here every module
outside the standard library and outside a list of the engine's own modules becomes a `Stand`: an object that can be
called, subscripted, subclassed, used as a decorator and asked for any attribute, and that answers with itself.
pydantic's dataclasses become the standard library's, which is all that a parser reads of them.

Runs alone in a fresh interpreter; nothing of Berth is imported.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib.abc
import importlib.machinery
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any


class Stand:
    """Stands for anything; `name` says for what."""

    def __init__(self, name: str = "?") -> None:
        self._stands_for = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Stand(f"{self._stands_for}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As a decorator it gives back what it decorates, else a stand."""
        if len(args) == 1 and not kwargs and _decorated(args[0]):
            return args[0]
        return Stand(f"{self._stands_for}()")

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (StandBase,) if next(base for base in bases if isinstance(base, Stand)) is self else ()

    def __getitem__(self, key: Any) -> Any:
        return self

    def __or__(self, other: Any) -> Any:
        """In an annotation, a union that keeps the other side; else the stand."""
        return typing.Union[StandBase, other] if _is_type(other) else self  # noqa: UP007  # made at run time

    __ror__ = __or__

    def __add__(self, other: Any) -> Any:
        return self

    __radd__ = __and__ = __rand__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __add__

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return False

    def __lt__(self, other: Any) -> bool:
        return False

    __gt__ = __le__ = __ge__ = __contains__ = __instancecheck__ = __subclasscheck__ = __lt__

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing was entered."""

    def __hash__(self) -> int:
        return hash(self._stands_for)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stand) and other._stands_for == self._stands_for

    def __repr__(self) -> str:
        return f"<{self._stands_for}>"


class StandBase:
    """What a class derived from a stand is derived from."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Takes whatever the real base would take."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Takes whatever the real base would take."""

    def __class_getitem__(cls, key: Any) -> Any:
        return cls


class StandModule(types.ModuleType):
    """A module any name can be imported from; `constants` are those its source assigns in plain sight."""

    def __init__(self, name: str, constants: dict[str, Any] | None = None) -> None:
        super().__init__(name)
        self.__dict__.update(constants or {})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__version__":
            raise AttributeError(name)
        return Stand(f"{self.__name__}.{name}")


def install(package: str, *, real: str) -> None:
    """From now on only modules of `package` whose full name matches `real` are run; every other import is a stand."""
    sys.meta_path.insert(0, _Stands(package, re.compile(real)))


class _Stands(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds stands for what is not needed."""

    def __init__(self, package: str, real: re.Pattern[str]) -> None:
        self.package, self.real, self.prepared = package, real, _prepared()

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: Any = None) -> Any:  # noqa: ARG002  # importlib passes it
        top = fullname.partition(".")[0]
        if top in sys.stdlib_module_names:
            return None
        if top != self.package:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        found = importlib.machinery.PathFinder.find_spec(fullname, path)
        if found is None or self.real.fullmatch(fullname):
            return found
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=found.origin, is_package=True)
        # Below a package whose own code is left out there may be modules that count.
        spec.submodule_search_locations = list(found.submodule_search_locations or [])
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return self.prepared.get(spec.name) or StandModule(spec.name, _constants(spec.origin))

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing to run."""


def _constants(origin: str | None) -> dict[str, Any]:
    """Names that a module's source assigns at its top to constants, arithmetic of constants or `Literal[...]`."""
    if origin is None or not origin.endswith(".py"):
        return {}
    with open(origin, encoding="utf-8") as source:  # noqa: PTH123  # pathlib would be imported before the stands are set
        tree = ast.parse(source.read())
    held: dict[str, Any] = {}
    for statement in tree.body:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        value = getattr(statement, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.AST) and _in_plain_sight(value, held):
            held[target.id] = eval(ast.unparse(value), {**held, "Literal": typing.Literal})  # noqa: S307  # constants
    return held


def _in_plain_sight(value: ast.AST, known: dict[str, Any]) -> bool:
    allowed = (ast.Constant, ast.BinOp, ast.operator, ast.Tuple, ast.List, ast.Subscript, ast.Load)
    return all(
        isinstance(node, allowed) or (isinstance(node, ast.Name) and (node.id == "Literal" or node.id in known))
        for node in ast.walk(value)
    )


def _decorated(value: Any) -> bool:
    return (
        inspect.isroutine(value) or inspect.isclass(value) or isinstance(value, (classmethod, staticmethod, property))
    )


def _is_type(value: Any) -> bool:
    return value is None or isinstance(value, (type, types.UnionType)) or typing.get_origin(value) is not None


def _prepared() -> dict[str, types.ModuleType]:
    """Modules whose behaviour a parser does need, made of the standard library."""
    fields = {"Field": _field, "FieldInfo": _FieldInfo, "BaseModel": _Model, "SkipValidation": _Transparent}
    return {
        "pydantic": StandModule("pydantic", fields),
        "pydantic.fields": StandModule("pydantic.fields", fields),
        "pydantic.dataclasses": StandModule("pydantic.dataclasses", {"dataclass": _dataclass}),
        "msgspec": StandModule(
            "msgspec",
            {"Struct": _Struct, "field": _field, "defstruct": _defstruct, "NODEFAULT": dataclasses.MISSING},
        ),
        "msgspec.structs": StandModule("msgspec.structs", {"fields": dataclasses.fields}),
        "regex": StandModule("regex", {name: getattr(re, name) for name in re.__all__}),
        "typing_extensions": StandModule(
            "typing_extensions",
            {name: getattr(typing, name) for name in typing.__all__}
            | {"deprecated": lambda *_, **__: lambda held: held},
        ),
    }


class _FieldInfo:
    """No field of a standard dataclass is one."""


class _Transparent:
    """An annotation that means what it holds."""

    def __class_getitem__(cls, held: Any) -> Any:
        return held


class _Model:
    """A pydantic model; its annotations are not read."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Takes pydantic's class arguments."""


class _Struct:
    """The Struct of msgspec as a standard dataclass."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        for name in inspect.get_annotations(cls):
            value = cls.__dict__.get(name)
            if isinstance(value, (list, dict, set)):
                setattr(cls, name, _field(value))
        dataclasses.dataclass(cls)


def _defstruct(name: str, fields: Sequence[tuple[Any, ...]], *, namespace: dict[str, Any], **_options: Any) -> type:
    """The defstruct of msgspec by way of `_Struct`."""
    held = {"__annotations__": {field[0]: field[1] for field in fields}}
    defaults = {field[0]: field[2] for field in fields if len(field) == 3}
    # Defaults in any order: a parser reads them one by one and never makes the object.
    filled = {field[0]: None for field in fields} | defaults
    return type(name, (_Struct,), {**namespace, **filled, **held})


def _field(default: Any = dataclasses.MISSING, **options: Any) -> Any:
    """The Field of pydantic as a dataclass field: the default stays, constraints go."""
    settings: dict[str, Any] = {"init": options.get("init", True)}
    if isinstance(default, (list, dict, set)):
        settings["default_factory"] = lambda: default
    elif "default_factory" in options:
        settings["default_factory"] = options["default_factory"]
    elif default is not ... and default is not dataclasses.MISSING:
        settings["default"] = default
    return dataclasses.field(**settings)


def _dataclass(cls: Any = None, **_options: Any) -> Any:
    """The dataclass of pydantic as the standard library's; keyword only, so that defaults may stand anywhere."""

    def wrap(held: type) -> type:
        return held if "__dataclass_fields__" in held.__dict__ else dataclasses.dataclass(kw_only=True)(held)

    wrapper: Callable[[type], type] = wrap
    return wrapper if cls is None else wrapper(cls)
