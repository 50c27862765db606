"""What all resource classes are: an operation's own declaration, handed to Pulumi under the operation's type.

A resource takes its declaration as the operation's `Want`, and beside it, by name, the values that are known late. A
class annotates what it gives to others (`pulumi.Output`): those are the operation's `output_names`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import pulumi

if TYPE_CHECKING:  # a program of one part of a stack does not wait for the operations of all others
    from berth.provider.operation import Want

W = TypeVar("W", bound="Want")

Late = Mapping[str, pulumi.Input[Any]]


class Resource(pulumi.CustomResource, Generic[W]):
    """Something that the provider keeps as declared; `kind` is its Pulumi type."""

    kind: ClassVar[str]

    def __init__(
        self, name: str, want: W, opts: pulumi.ResourceOptions | None = None, late: Late | None = None
    ) -> None:
        outputs = dict.fromkeys(inspect.get_annotations(type(self)))
        super().__init__(self.kind, name, {**want.plain(), **(late or {}), **outputs}, opts)
