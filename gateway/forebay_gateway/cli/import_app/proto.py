"""The parts of a `.proto` file, before its types get their names. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True)
class Scalar:
    """A scalar, or a message of `google.protobuf`. `plain_type` is a `forebay.v1.PlainType`."""

    proto: str
    plain_type: str = ""

    @property
    def has_presence(self) -> bool:
        """Whether a field of this type has presence even without the label `optional`."""
        return "." in self.proto


@dataclass(eq=False)
class MessageType:
    """A message of the file. Its name is the last of `parts`, with earlier ones if names clash."""

    parts: tuple[str, ...]
    fields: list[Field] = field(default_factory=list)
    comment: str = ""
    shape: str = ""
    has_presence = True


@dataclass(frozen=True)
class EnumValue:
    """A value of an enum; `python` is what the task receives."""

    name: str
    number: int
    python: str | int


@dataclass(eq=False)
class EnumType:
    """An enum of the file."""

    parts: tuple[str, ...]
    values: list[EnumValue] = field(default_factory=list)
    comment: str = ""
    has_presence = False


Single: TypeAlias = Scalar | MessageType | EnumType


@dataclass(frozen=True)
class Repeated:
    """A list."""

    of: Single


@dataclass(frozen=True)
class Map:
    """A dict."""

    key: str
    of: Single


ProtoType: TypeAlias = Single | Repeated | Map


@dataclass(frozen=True)
class Field:
    """A field. `name` is its name in Python; `key` is what the task receives, if it differs.

    `unset` is a value of `forebay.v1.PlainUnset`. `untyped` says why the field or its elements are
    of the type `google.protobuf.Value`.
    """

    name: str
    type: ProtoType
    optional: bool = False
    unset: str = ""
    comment: str = ""
    key: str = ""
    untyped: str = ""


@dataclass(frozen=True)
class Rpc:
    """A method with its route."""

    name: str
    task: str
    queue: str
    request: MessageType
    response: MessageType
    positional: tuple[str, ...] = ()
    args: str = ""
    kwargs: str = ""
    result: str = ""
    application: str = ""
    comment: str = ""


def single(kind: ProtoType) -> Single:
    """The type itself, or that of its elements or values."""
    return kind.of if isinstance(kind, (Repeated, Map)) else kind


def declared(rpcs: list[Rpc]) -> Iterator[MessageType | EnumType]:
    """The messages and enums that the methods need, each once, besides requests and responses."""
    own = {id(message) for rpc in rpcs for message in (rpc.request, rpc.response)}
    seen: set[int] = set()
    left: list[Single] = [message for rpc in rpcs for message in (rpc.request, rpc.response)]
    while left:
        kind = left.pop(0)
        if isinstance(kind, Scalar) or id(kind) in seen:
            continue
        seen.add(id(kind))
        if id(kind) not in own:
            yield kind
        if isinstance(kind, MessageType):
            left += [single(one.type) for one in kind.fields]
