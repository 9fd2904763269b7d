"""`forebay import`: each type of Python becomes a field, with the options that it needs."""

from __future__ import annotations

import collections
import enum
import ipaddress
import pathlib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    TypeVar,
)
from uuid import UUID

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr
from typing_extensions import TypeAliasType, TypedDict

from forebay_gateway.cli.import_app.render import render
from forebay_gateway.cli.import_app.routes import make_rpcs, untyped_places
from forebay_gateway.cli.import_app.signatures import read_task

T = TypeVar("T")
Bound = TypeVar("Bound", bound=int)
UserId = NewType("UserId", int)
Names = TypeAliasType("Names", list[str])
Several = TypeAliasType("Several", list[T], type_params=(T,))
PLAIN = "(forebay.v1.plain_field)"
OMITTED = f"[{PLAIN}.unset = PLAIN_UNSET_OMITTED]"
NONE = f"[{PLAIN}.unset = PLAIN_UNSET_NONE]"
VALUE = "google.protobuf.Value"


class Recursive:
    """As `type Nested = list[Nested]`, which needs Python 3.12: its value is made on demand."""

    def __repr__(self) -> str:
        return "Nested"

    @property
    def __value__(self) -> Any:
        return list[self]  # type: ignore[misc,valid-type]


Nested: Any = Recursive()


class Colour(enum.Enum):
    """Paint."""

    RED = "red"
    Red = "Red"
    UNSPECIFIED = "none"


class Level(enum.IntEnum):
    """Positive numbers are kept."""

    LOW = 10
    HIGH = 20


class Sign(enum.IntEnum):
    """Others are not."""

    MINUS = -1
    NONE = 0
    PLUS = 1


class Count(enum.IntEnum):
    """One is that of an enum's value of our own."""

    ZERO = 0
    ONE = 1


class Large(enum.IntEnum):
    """One is more than the number of a value can be."""

    FITS = 2**31 - 1
    LARGER = 2**31


class Size(enum.Enum):
    """No string and no integer."""

    SMALL = (1, 2)


class Access(enum.Flag):
    """Bits."""

    READ = 1
    WRITE = 2


def message(text: str, name: str) -> str:
    """The body of a message or enum, without its comments, on one line."""
    start = text.index(f" {name} {{")
    body = text[start + len(name) + 3 : text.index("}\n", start)]
    lines = [line.strip() for line in body.splitlines()]
    return " ".join(line for line in lines if line and not line.startswith("//"))


def proto_of(annotation: Any, default: Any = None, *, required: bool = True) -> str:
    """The file for a task with one parameter."""

    def run(it: Any) -> None: ...

    run.__annotations__["it"] = annotation
    if not required:
        run.__defaults__ = (default,)
    return render(make_rpcs([read_task("t.run", "q", run)]), "t.v1", "TService", "", "")


def field_of(annotation: Any, default: Any = None, *, required: bool = True) -> str:
    """The field of the parameter."""
    return message(proto_of(annotation, default, required=required), "RunRequest")


FIELDS: list[tuple[Any, str]] = [
    (int, "int64 it = 1;"),
    (float, "double it = 1;"),
    (bool, "bool it = 1;"),
    (str, "string it = 1;"),
    (bytes, "bytes it = 1;"),
    (bytearray, "bytes it = 1;"),
    (datetime, "google.protobuf.Timestamp it = 1;"),
    (timedelta, "google.protobuf.Duration it = 1;"),
    (date, f"string it = 1 [{PLAIN}.type = PLAIN_TYPE_DATE];"),
    (time, f"string it = 1 [{PLAIN}.type = PLAIN_TYPE_TIME];"),
    (Decimal, f"string it = 1 [{PLAIN}.type = PLAIN_TYPE_DECIMAL];"),
    (UUID, f"string it = 1 [{PLAIN}.type = PLAIN_TYPE_UUID];"),
    (pathlib.Path, "string it = 1;"),
    (ipaddress.IPv4Address, "string it = 1;"),
    (SecretStr, "string it = 1;"),
    (Access, "int64 it = 1;"),
    (Colour, "Colour it = 1;"),
    (Size, f"{VALUE} it = 1;"),
    (int | None, f"optional int64 it = 1 {NONE};"),
    (Optional[Colour], f"optional Colour it = 1 {NONE};"),  # noqa: UP045
    (datetime | None, f"google.protobuf.Timestamp it = 1 {NONE};"),
    (
        Decimal | None,
        f"optional string it = 1 [{PLAIN} = "
        "{type: PLAIN_TYPE_DECIMAL, unset: PLAIN_UNSET_NONE}];",
    ),
    (list[int] | None, "repeated int64 it = 1;"),
    (int | float, "double it = 1;"),
    (int | str, f"{VALUE} it = 1;"),
    (int | str | None, f"{VALUE} it = 1 {NONE};"),
    (str | pathlib.Path, "string it = 1;"),
    (str | UUID, "string it = 1;"),
    (UUID | Decimal, f"{VALUE} it = 1;"),
    (list[int] | tuple[int, ...], "repeated int64 it = 1;"),
    (list, f"repeated {VALUE} it = 1;"),
    (list[Any], f"repeated {VALUE} it = 1;"),
    (list[UUID], f"repeated string it = 1 [{PLAIN}.type = PLAIN_TYPE_UUID];"),
    (list[int | None], f"repeated {VALUE} it = 1;"),
    (list[list[float]], "repeated DoubleList it = 1;"),
    (set[str], "repeated string it = 1;"),
    (frozenset[str], "repeated string it = 1;"),
    (collections.deque[str], "repeated string it = 1;"),
    (Sequence[bytes], "repeated bytes it = 1;"),
    (tuple[int, ...], "repeated int64 it = 1;"),
    (tuple[int, int], "repeated int64 it = 1;"),
    (tuple[int, str], "Int64StringTuple it = 1;"),
    (tuple[int, str, float, bool], "RunItTuple it = 1;"),
    (tuple, f"repeated {VALUE} it = 1;"),
    (dict, "google.protobuf.Struct it = 1;"),
    (dict[str, Any], "google.protobuf.Struct it = 1;"),
    (Mapping[str, int], "map<string, int64> it = 1;"),
    (dict[int, str], "map<int64, string> it = 1;"),
    (dict[bool, str], "map<bool, string> it = 1;"),
    (dict[UUID, str], "map<string, string> it = 1;"),
    (dict[float, str], "map<string, string> it = 1;"),
    (dict[str, Decimal], f"map<string, string> it = 1 [{PLAIN}.type = PLAIN_TYPE_DECIMAL];"),
    (dict[str, list[int]], "map<string, Int64List> it = 1;"),
    (dict[str, int | None], "google.protobuf.Struct it = 1;"),
    (dict[str, dict[str, int]], "map<string, Int64Map> it = 1;"),
    (collections.Counter[str], "map<string, int64> it = 1;"),
    (Literal["a", "b"], "RunIt it = 1;"),
    (Literal[1, 2], "RunIt it = 1;"),
    (Literal[True], "bool it = 1;"),
    (Literal["a", None], f"optional RunIt it = 1 {NONE};"),
    (Literal["a"] | Literal["b"], "RunIt it = 1;"),
    (Literal["a", 1], f"{VALUE} it = 1;"),
    (Literal[Level.LOW], "Level it = 1;"),
    (Annotated[int, {"un": "hashable"}], "int64 it = 1;"),
    (list[Annotated[int, []]], "repeated int64 it = 1;"),
    (tuple[Annotated[int, []], Annotated[int, []]], "repeated int64 it = 1;"),
    (UserId, "int64 it = 1;"),
    (Names, "repeated string it = 1;"),
    (Several[int], "repeated int64 it = 1;"),
    (Several, f"repeated {VALUE} it = 1;"),
    (Nested, f"repeated {VALUE} it = 1;"),
    (T, f"{VALUE} it = 1;"),
    (Bound, "int64 it = 1;"),
    ("list[int]", "repeated int64 it = 1;"),
    ("Missing", f"{VALUE} it = 1;"),
    (Any, f"{VALUE} it = 1;"),
    (object, f"{VALUE} it = 1;"),
    (None, f"{VALUE} it = 1;"),
    (complex, "string it = 1;"),
    (typing.Callable[[int], int], f"{VALUE} it = 1;"),
    (type, f"{VALUE} it = 1;"),
]


@pytest.mark.parametrize(("annotation", "expected"), FIELDS)
def test_a_required_parameter_becomes_a_field(annotation: Any, expected: str) -> None:
    assert field_of(annotation) == expected


# An annotation, a default, the field, and what its comment says of the default.
DEFAULTS: list[tuple[Any, Any, str, str]] = [
    (int, 5, "optional int64 it = 1;", "Default: 5."),
    (int, None, "optional int64 it = 1;", ""),
    (int | None, 5, "optional int64 it = 1;", "Default: 5."),
    (str, "EUR", "optional string it = 1;", "Default: 'EUR'."),
    (str, "x" * 58, "optional string it = 1;", f"Default: '{'x' * 58}'."),
    (str, "x" * 59, "optional string it = 1;", ""),
    (Level, Level.LOW, "optional Level it = 1;", "Default: LOW."),
    (datetime, None, "google.protobuf.Timestamp it = 1;", ""),
    (list[int], (), f"repeated int64 it = 1 {OMITTED};", "Empty: the default applies."),
    (dict[str, int], None, f"map<string, int64> it = 1 {OMITTED};", "Empty: the default applies."),
    (dict, None, "google.protobuf.Struct it = 1;", ""),
]


@pytest.mark.parametrize(("annotation", "default", "expected", "comment"), DEFAULTS)
def test_a_parameter_with_a_default_may_be_left_unset(
    annotation: Any, default: Any, expected: str, comment: str
) -> None:
    text = proto_of(annotation, default, required=False)
    assert message(text, "RunRequest") == expected
    said = [line.strip() for line in text.splitlines() if "efault" in line and "//" in line]
    assert said == ([f"// {comment}"] if comment else [])


def test_an_enum_has_a_zero_value_of_its_own_and_the_values_of_python() -> None:
    assert message(proto_of(Colour), "Colour") == (
        "COLOUR_UNSPECIFIED = 0; "
        'COLOUR_RED = 1 [(forebay.v1.plain_value).text = "red"]; '
        'COLOUR_RED2 = 2 [(forebay.v1.plain_value).text = "Red"]; '
        'COLOUR_UNSPECIFIED2 = 3 [(forebay.v1.plain_value).text = "none"];'
    )


@pytest.mark.parametrize(
    ("cls", "numbers"),
    [
        (Level, {"LOW": (10, 10), "HIGH": (20, 20)}),
        (Sign, {"MINUS": (1, -1), "PLUS": (3, 1)}),
        (Count, {"ZERO": (1, 0), "ONE": (2, 1)}),
        (Large, {"FITS": (1, 2**31 - 1), "LARGER": (2, 2**31)}),
    ],
)
def test_an_enum_keeps_numbers_that_are_positive(
    cls: type[enum.Enum], numbers: dict[str, tuple[int, int]]
) -> None:
    body = message(proto_of(cls), cls.__name__)
    for name, (number, python) in numbers.items():
        option = f"[(forebay.v1.plain_value).number = {python}]"
        assert f"{cls.__name__.upper()}_{name} = {number} {option};" in body


@dataclass
class Node:
    """A tree."""

    name: str
    children: list[Node] = field(default_factory=list)
    date: date | None = None
    size: int | None = 3


class Pair(NamedTuple):
    """Two."""

    x: float
    y: int | None = None


class Settings(TypedDict):
    """Some."""

    fast: bool
    depth: NotRequired[int]


@dataclass
class Box(Generic[T]):
    """Of anything."""

    it: T
    more: dict[str, T]


@dataclass
class Crate(Generic[T]):
    """Of boxes."""

    box: Box[T]
    boxes: list[Box[T]]


class Page(BaseModel, Generic[T]):
    """Of a list."""

    items: list[T]


class Account(BaseModel):
    """With names for JSON."""

    model_config = ConfigDict(ser_json_bytes="utf8")

    user_id: int = Field(alias="userId", description="The number.")
    other: str = Field(validation_alias=AliasChoices("first", "second"))
    data: bytes
    count: int = 4


class Encoded(BaseModel):
    """Bytes as base64."""

    model_config = ConfigDict(ser_json_bytes="base64", populate_by_name=True)

    data: bytes
    user_id: int = Field(alias="userId")


class ByAlias(BaseModel):
    """It is written by its alias, too."""

    model_config = ConfigDict(serialize_by_alias=True)

    user_id: int = Field(alias="uid")


LIST = "option (forebay.v1.plain_message).shape = PLAIN_SHAPE_LIST; "
VALUES = "option (forebay.v1.plain_message).shape = PLAIN_SHAPE_VALUE; "

MESSAGES: list[tuple[Any, str, str]] = [
    (
        Node,
        "Node",
        f"string name = 1; repeated Node children = 2 {OMITTED}; "
        f"optional string date = 3 [{PLAIN}.type = PLAIN_TYPE_DATE]; optional int64 size = 4;",
    ),
    (Pair, "Pair", f"{LIST}double x = 1; optional int64 y = 2 {NONE};"),
    (Settings, "Settings", "bool fast = 1; optional int64 depth = 2;"),
    (Box[int], "BoxInt", "int64 it = 1; map<string, int64> more = 2;"),
    (Box[list[Pair]], "BoxListPair", "repeated Pair it = 1; map<string, PairList> more = 2;"),
    (Crate[int], "CrateInt", "BoxInt box = 1; repeated BoxInt boxes = 2;"),
    (Crate[int], "BoxInt", "int64 it = 1; map<string, int64> more = 2;"),
    (Page[Pair], "PagePair", "repeated Pair items = 1;"),
    (
        Account,
        "Account",
        f'int64 user_id = 1 [{PLAIN}.name = "userId"]; string other = 2 [{PLAIN}.name = "first"]; '
        "string data = 3; optional int64 count = 4;",
    ),
    (Encoded, "Encoded", "bytes data = 1; int64 user_id = 2;"),
    (ByAlias, "ByAlias", "int64 uid = 1;"),
    (list[list[int]], "Int64List", f"{VALUES}repeated int64 values = 1;"),
    (tuple[int | None, list[str]], "Int64StringListTuple",
     f"{LIST}optional int64 item_1 = 1; repeated string item_2 = 2;"),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "name", "expected"), MESSAGES)
def test_a_class_becomes_a_message(annotation: Any, name: str, expected: str) -> None:
    assert message(proto_of(annotation), name) == expected


def test_docstrings_and_descriptions_become_comments() -> None:
    text = proto_of(Annotated[Account, "Whose it is."])
    for comment in ("Whose it is.", "With names for JSON.", "The number."):
        assert f"// {comment}\n" in text
    for made_by_python in ("Node(", "Pair("):
        assert f"// {made_by_python}" not in proto_of(Node) + proto_of(Pair)


def test_what_has_no_type_is_listed_with_its_reason() -> None:
    def run(one, two: Missing, three: list[int | None]) -> typing.Iterator[int]: ...  # type: ignore[no-untyped-def,name-defined]  # noqa: F821

    (rpc,) = make_rpcs([read_task("t.run", "q", run)])
    assert untyped_places([rpc], []) == [
        "t.run(one): it has no annotation",
        "t.run(two): Missing can't be resolved",
        "t.run(three): int | None in a list or dict may be None",
        "t.run returns: Iterator has no type in protobuf",
    ]
