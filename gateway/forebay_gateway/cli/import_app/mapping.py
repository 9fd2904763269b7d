"""Maps the Python types that plain tasks take and return to protobuf's. Pure."""

from __future__ import annotations

import collections
import types
import typing
from collections import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, Flag
from typing import Any

from forebay_gateway.cli.import_app.annotations import Unresolved
from forebay_gateway.cli.import_app.classes import (
    NOTHING,
    ClassField,
    doc_of,
    fields_of,
    has_fields,
    is_named_tuple,
    root_of,
    writes_bytes_as_text,
)
from forebay_gateway.cli.import_app.descriptions import (
    comment_of,
    name_of,
    path_of,
    short_name,
    shown,
)
from forebay_gateway.cli.import_app.enums import enum_values, fit_an_enum
from forebay_gateway.cli.import_app.names import camel_case
from forebay_gateway.cli.import_app.proto import (
    EnumType,
    Field,
    Map,
    MessageType,
    ProtoType,
    Repeated,
    Scalar,
    Single,
)
from forebay_gateway.cli.import_app.scalars import (
    BOOL,
    BYTES,
    DOUBLE,
    STRING,
    STRUCT,
    VALUE,
    is_list,
    scalar_by_json_schema,
    scalar_of,
)

_MARKERS = frozenset({"ClassVar", "Final", "NotRequired", "ReadOnly", "Required"})
_LONGEST_TUPLE_NAME = 3  # elements that are named in the name of a tuple's message
_NO_BINDINGS: Mapping[Any, Any] = {}


@dataclass(frozen=True)
class Mapped:
    """A type of protobuf. `untyped` says why it, or what it holds, is any JSON."""

    type: ProtoType
    nullable: bool = False
    untyped: str = ""


@dataclass(frozen=True)
class Scope:
    """Where an annotation is: names for what has none, the types of type variables."""

    name: str
    bindings: Mapping[Any, Any]


class TypeMapper:
    """Maps annotations. A class becomes one message or enum, wherever it occurs."""

    def __init__(self) -> None:
        self._known: dict[Any, Single] = {}
        self._open_aliases: list[Any] = []

    def field(
        self, one: ClassField, owner: str, bindings: Mapping[Any, Any] = _NO_BINDINGS
    ) -> Field:
        """The field of a message; `owner` is the message's name, for types that have none."""
        scope = Scope(f"{owner}{camel_case(one.name, 'Field')}", bindings)
        mapped = self.convert(one.annotation, scope)
        is_collection = isinstance(mapped.type, (Repeated, Map))
        has_presence = not is_collection and getattr(mapped.type, "has_presence", False)
        unset = ""
        if not one.required and is_collection:
            unset = "OMITTED"
        elif one.required and mapped.nullable and not is_collection:
            unset = "NONE"
        return Field(
            one.name,
            mapped.type,
            optional=not (is_collection or has_presence) and (mapped.nullable or not one.required),
            unset=unset,
            comment=comment_of(one, mapped.type, mapped.untyped),
            key=one.key,
            untyped=mapped.untyped,
        )

    def convert(self, annotation: Any, scope: Scope) -> Mapped:
        """The type of an annotation."""
        if annotation is NOTHING:
            return _untyped("it has no annotation")
        if isinstance(annotation, (str, typing.ForwardRef)):
            annotation = Unresolved(getattr(annotation, "__forward_arg__", str(annotation)))
        if isinstance(annotation, Unresolved):
            return _untyped(f"{annotation.text} can't be resolved")
        if annotation is Any or annotation is object:
            return _untyped("it may be anything")
        if hasattr(annotation, "__supertype__"):  # NewType
            return self.convert(annotation.__supertype__, scope)
        if isinstance(annotation, typing.TypeVar):
            return self._type_variable(annotation, scope)
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        alias = origin if hasattr(origin, "__value__") else annotation
        if hasattr(alias, "__value__"):
            return self._alias(alias, arguments, scope)
        if origin is typing.Annotated or _special_name(origin) in _MARKERS:
            return self.convert(arguments[0], scope)
        if origin is typing.Union or origin is types.UnionType:
            return self._union(arguments, scope)
        if origin is typing.Literal:
            return self._literal(arguments, scope)
        cls = annotation if origin is None else origin
        if not isinstance(cls, type) or cls is type(None):
            return _untyped(f"{shown(annotation)} has no type in protobuf")
        return self._class(cls, arguments, scope)

    def _type_variable(self, variable: Any, scope: Scope) -> Mapped:
        bound = scope.bindings.get(variable, getattr(variable, "__bound__", None))
        if bound is None or bound is variable:
            return _untyped(f"{variable} may be anything")
        return self.convert(bound, Scope(scope.name, _NO_BINDINGS))

    def _alias(self, alias: Any, arguments: tuple[Any, ...], scope: Scope) -> Mapped:
        """A type with a name of its own: `type Names = list[str]`."""
        if alias in self._open_aliases:
            return _untyped(f"{alias} is recursive")
        variables = getattr(alias, "__type_params__", ())
        bound = {**scope.bindings, **dict(zip(variables, arguments, strict=False))}
        self._open_aliases.append(alias)
        try:
            return self.convert(alias.__value__, Scope(scope.name, bound))
        except NameError:  # Python evaluates it here
            return _untyped(f"{alias} can't be resolved")
        finally:
            self._open_aliases.pop()

    def _union(self, arguments: tuple[Any, ...], scope: Scope) -> Mapped:
        members = [one for one in arguments if one is not type(None)]
        nullable = len(members) < len(arguments)
        if len(members) > 1 and all(typing.get_origin(one) is typing.Literal for one in members):
            values = tuple(value for one in members for value in typing.get_args(one))
            mapped = self._literal(values, scope)
        elif len(members) == 2 and int in members and float in members:
            mapped = Mapped(DOUBLE)
        else:
            of_members = [self.convert(one, scope) for one in members]
            mapped = _common(of_members) or _untyped(f"{shown(arguments)} is a union")
        return Mapped(mapped.type, nullable or mapped.nullable, mapped.untyped)

    def _literal(self, values: tuple[Any, ...], scope: Scope) -> Mapped:
        nullable = None in values
        values = tuple(value for value in values if value is not None)
        kind, *others = {type(value): None for value in values} or (type(None),)
        if kind is bool and not others:
            return Mapped(BOOL, nullable)
        if issubclass(kind, Enum) and not others:
            mapped = self._class(kind, (), scope)
            return Mapped(mapped.type, nullable, mapped.untyped)
        members = {str(value): value for value in values}
        if not fit_an_enum(members):
            return _untyped("a Literal of other values than strings or integers", nullable=nullable)
        key = ("literal", scope.name, values)
        if key not in self._known:
            self._known[key] = EnumType((scope.name,), enum_values(members))
        return Mapped(self._known[key], nullable)

    def _class(self, cls: type, arguments: tuple[Any, ...], scope: Scope) -> Mapped:
        if issubclass(cls, Enum) and not issubclass(cls, Flag):
            return self._enum(cls)
        if root_of(cls) is not NOTHING:
            return self.convert(root_of(cls), scope)
        if has_fields(cls):
            return Mapped(self._message(cls, arguments, scope))
        if issubclass(cls, tuple):
            return self._tuple(arguments, scope)
        scalar = scalar_of(cls)
        if scalar is not None:
            return Mapped(scalar)
        if issubclass(cls, abc.Mapping):
            counts = (str, int) if issubclass(cls, collections.Counter) else ()
            return self._map(counts or arguments, scope)
        if is_list(cls):
            return self._list(arguments[0] if arguments else Any, scope)
        scalar = scalar_by_json_schema(cls)
        return Mapped(scalar) if scalar else _untyped(f"{shown(cls)} has no type in protobuf")

    def _enum(self, cls: type[Enum]) -> Mapped:
        members = {member.name: member.value for member in cls}
        if not fit_an_enum(members):
            return _untyped(f"the values of {cls.__name__} are neither strings nor integers")
        if cls not in self._known:
            self._known[cls] = EnumType(path_of(cls), enum_values(members), doc_of(cls))
        return Mapped(self._known[cls])

    def _message(self, cls: type, arguments: tuple[Any, ...], scope: Scope) -> Single:
        arguments = tuple(_bound(one, scope.bindings) for one in arguments)
        key = (cls, repr(arguments))  # annotations may be unhashable
        if key not in self._known:
            *modules, last = path_of(cls)
            of_arguments = "".join(short_name(one) for one in arguments)
            shape = "LIST" if is_named_tuple(cls) else ""
            message = MessageType((*modules, last + of_arguments), comment=doc_of(cls), shape=shape)
            self._known[key] = message  # before its fields, which may be of this type again
            bindings = dict(zip(getattr(cls, "__parameters__", ()), arguments, strict=False))
            for one in fields_of(cls):
                field = self.field(one, camel_case(last, "Type"), bindings)
                if field.type == BYTES and writes_bytes_as_text(cls):
                    field = replace(field, type=STRING)
                message.fields.append(field)
        return self._known[key]

    def _tuple(self, arguments: tuple[Any, ...], scope: Scope) -> Mapped:
        if not arguments or arguments[-1] is Ellipsis:
            return self._list(arguments[0] if arguments else Any, scope)
        if all(one == arguments[0] for one in arguments):
            return self._list(arguments[0], scope)
        items = [ClassField(f"item_{n}", one) for n, one in enumerate(arguments, start=1)]
        fields = [self.field(one, scope.name, scope.bindings) for one in items]
        name = "".join(name_of(one.type) for one in fields)
        if len(fields) > _LONGEST_TUPLE_NAME:
            name = scope.name
        key = ("tuple", name, tuple((one.type, one.optional) for one in fields))
        if key not in self._known:
            elements = [replace(one, unset="") for one in fields]
            self._known[key] = MessageType((f"{name}Tuple",), elements, shape="LIST")
        return Mapped(self._known[key])

    def _list(self, argument: Any, scope: Scope) -> Mapped:
        element, untyped = self._element(argument, scope)
        return Mapped(Repeated(element), untyped=untyped)

    def _map(self, arguments: tuple[Any, ...], scope: Scope) -> Mapped:
        if len(arguments) != 2:
            return Mapped(STRUCT)
        keys = self.convert(arguments[0], scope).type
        element, untyped = self._element(arguments[1], scope)
        if element == VALUE:
            return Mapped(STRUCT, untyped=untyped)
        key = (
            keys.proto if isinstance(keys, Scalar) and keys.proto in ("int64", "bool") else "string"
        )
        return Mapped(Map(key, element), untyped=untyped)

    def _element(self, argument: Any, scope: Scope) -> tuple[Single, str]:
        """The type of a list's elements, and why it is any JSON."""
        mapped = self.convert(argument, scope)
        if isinstance(mapped.type, (Repeated, Map)):
            return self._wrapper(mapped), mapped.untyped
        if mapped.nullable:
            return VALUE, mapped.untyped or f"{shown(argument)} in a list or dict may be None"
        return mapped.type, mapped.untyped if argument is not Any else ""

    def _wrapper(self, mapped: Mapped) -> MessageType:
        """A message that stands for its only field: protobuf has no list of lists."""
        key = ("wrapper", mapped.type)
        if key not in self._known:
            values = Field("values", mapped.type, untyped=mapped.untyped)
            comment = "A list, or a dict, within another."
            parts = (name_of(mapped.type),)
            self._known[key] = MessageType(parts, [values], comment, "VALUE")
        found = self._known[key]
        assert isinstance(found, MessageType)  # noqa: S101  # its key says so
        return found


def _common(members: Sequence[Mapped]) -> Mapped | None:
    """The type of all members, if that is one."""
    first = members[0]
    if all(one.type == first.type for one in members) and first.type != VALUE:
        return Mapped(first.type, any(one.nullable for one in members), first.untyped)
    are_text = all(isinstance(one.type, Scalar) and one.type.proto == "string" for one in members)
    if are_text and any(one.type == STRING for one in members):
        return Mapped(STRING, any(one.nullable for one in members))
    return first if len(members) == 1 else None


def _untyped(why: str, *, nullable: bool = False) -> Mapped:
    return Mapped(VALUE, nullable, why)


def _bound(annotation: Any, bindings: Mapping[Any, Any]) -> Any:
    """The type of a type variable."""
    return (
        bindings.get(annotation, annotation)
        if isinstance(annotation, typing.TypeVar)
        else annotation
    )


def _special_name(origin: Any) -> str:
    """The name of a special form, of `typing` or `typing_extensions`."""
    return str(origin).rpartition(".")[2] if not isinstance(origin, type) else ""
