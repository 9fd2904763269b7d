"""Renders the text of the `.proto` file. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from google.protobuf import text_encoding

from forebay_gateway.cli.import_app.names import distinct, numbered, snake_case
from forebay_gateway.cli.import_app.proto import (
    EnumType,
    Field,
    Map,
    MessageType,
    ProtoType,
    Repeated,
    Rpc,
    Scalar,
    declared,
    single,
)

_IMPORTS = {
    "google.protobuf.Duration": "google/protobuf/duration.proto",
    "google.protobuf.Struct": "google/protobuf/struct.proto",
    "google.protobuf.Value": "google/protobuf/struct.proto",
    "google.protobuf.Timestamp": "google/protobuf/timestamp.proto",
}
_ROUTE, _PLAIN = "forebay/v1/route.proto", "forebay/v1/plain.proto"


def render(
    rpcs: Sequence[Rpc], package: str, service: str, comment: str, service_comment: str
) -> str:
    """The file's text: the service, its requests and responses, then the other types by name."""
    return "\n".join(_File(rpcs, package, service).lines(comment, service_comment)) + "\n"


class _File:
    """Names all types of the file, and writes its lines."""

    def __init__(self, rpcs: Sequence[Rpc], package: str, service: str) -> None:
        self._rpcs, self._package, self._service = rpcs, package, service
        own = [message for rpc in rpcs for message in (rpc.request, rpc.response)]
        kinds = sorted(declared(list(rpcs)), key=lambda kind: kind.parts)
        taken = [service, *(message.parts[-1] for message in own)]
        names = distinct([kind.parts for kind in kinds], "Type", taken)
        self._names = {id(message): message.parts[-1] for message in own}
        self._names |= {id(kind): name for kind, name in zip(kinds, names, strict=True)}
        self._own = own
        self._others = sorted(kinds, key=lambda kind: self._names[id(kind)])
        self._taken_values: set[str] = set()
        # protoc resolves names from the innermost package out. In package `shop.google`, the name
        # `google.protobuf` would not be found without a leading dot.
        inner = package.split(".")[1:]
        self._dot = "." if {"google", "forebay"} & set(inner) else ""

    def lines(self, comment: str, service_comment: str) -> Iterator[str]:
        yield from _comment(comment)
        yield from ('syntax = "proto3";', "", f"package {self._package};", "")
        yield from (f'import "{path}";' for path in sorted(self._imports()))
        yield from self._body(service_comment)

    def _imports(self) -> set[str]:
        found = {_ROUTE}
        for kind in (*self._own, *self._others):
            if isinstance(kind, EnumType) or kind.shape:
                found.add(_PLAIN)
            for field, name in _named(kind) if isinstance(kind, MessageType) else ():
                of = single(field.type)
                if isinstance(of, Scalar) and "." in of.proto:
                    found.add(_IMPORTS[of.proto])
                if _field_options(field, name):
                    found.add(_PLAIN)
        return found

    def _body(self, service_comment: str) -> Iterator[str]:
        yield ""
        yield from _comment(service_comment)
        yield f"service {self._service} {{"
        for index, rpc in enumerate(self._rpcs):
            if index:
                yield ""
            yield from _indented(self._rpc(rpc))
        yield "}"
        for message in self._own:
            yield ""
            yield from self._message(message)
        for kind in self._others:
            yield ""
            yield from self._message(kind) if isinstance(kind, MessageType) else self._enum(kind)

    def _rpc(self, rpc: Rpc) -> Iterator[str]:
        yield from _comment(rpc.comment)
        request, response = self._names[id(rpc.request)], self._names[id(rpc.response)]
        yield f"rpc {rpc.name}({request}) returns ({response}) {{"
        yield f"  option ({self._dot}forebay.v1.route) = {{"
        yield f"    task: {_quoted(rpc.task)}"
        yield f"    queue: {_quoted(rpc.queue)}"
        yield f"    plain: {{{_plain(rpc)}}}"
        yield "  };"
        yield "}"

    def _message(self, message: MessageType) -> Iterator[str]:
        yield from _comment(message.comment)
        name = self._names[id(message)]
        if not message.fields and not message.shape:
            yield f"message {name} {{}}"
            return
        yield f"message {name} {{"
        if message.shape:
            shape = f"PLAIN_SHAPE_{message.shape}"
            yield f"  option ({self._dot}forebay.v1.plain_message).shape = {shape};"
        for number, (field, field_name) in enumerate(_named(message), start=1):
            yield from _indented(_comment(field.comment))
            label = "optional " if field.optional else ""
            options = self._options(field, field_name)
            yield f"  {label}{self._type(field.type)} {field_name} = {number}{options};"
        yield "}"

    def _options(self, field: Field, field_name: str) -> str:
        option = f"({self._dot}forebay.v1.plain_field)"
        options = _field_options(field, field_name)
        if len(options) > 1:
            return f" [{option} = {{{', '.join(f'{key}: {value}' for key, value in options)}}}]"
        return "".join(f" [{option}.{key} = {value}]" for key, value in options)

    def _type(self, kind: ProtoType) -> str:
        if isinstance(kind, Repeated):
            return f"repeated {self._type(kind.of)}"
        if isinstance(kind, Map):
            return f"map<{kind.key}, {self._type(kind.of)}>"
        if isinstance(kind, Scalar):
            return f"{self._dot}{kind.proto}" if "." in kind.proto else kind.proto
        return self._names[id(kind)]

    def _enum(self, enum: EnumType) -> Iterator[str]:
        yield from _comment(enum.comment)
        name = self._names[id(enum)]
        prefix = snake_case(name, "enum").upper()
        wanted = ["UNSPECIFIED", *(snake_case(one.name, "value").upper() for one in enum.values)]
        # Values must differ without their prefix within the enum, and with it within the file.
        names = numbered(numbered(wanted, set()), set())
        names = numbered([f"{prefix}_{one}" for one in names], self._taken_values)
        yield f"enum {name} {{"
        yield f"  {names[0]} = 0;"
        for value_name, value in zip(names[1:], enum.values, strict=True):
            kind = "number" if isinstance(value.python, int) else "text"
            python = value.python if isinstance(value.python, int) else _quoted(value.python)
            option = f"[({self._dot}forebay.v1.plain_value).{kind} = {python}]"
            yield f"  {value_name} = {value.number} {option};"
        yield "}"


def field_names(message: MessageType) -> list[str]:
    """The names of the message's fields in the file, in their order."""
    return numbered([snake_case(field.name, "field") for field in message.fields], set())


def _named(message: MessageType) -> Iterator[tuple[Field, str]]:
    """The fields, each with its name in the file."""
    return zip(message.fields, field_names(message), strict=True)


def _field_options(field: Field, field_name: str) -> list[tuple[str, str]]:
    """The parts of the field's option `plain_field`."""
    kind = single(field.type)
    plain_type = kind.plain_type if isinstance(kind, Scalar) else ""
    key = field.key or field.name
    options = {
        "name": _quoted(key) if key != field_name else "",
        "type": f"PLAIN_TYPE_{plain_type}" if plain_type else "",
        "unset": f"PLAIN_UNSET_{field.unset}" if field.unset else "",
    }
    return [(name, value) for name, value in options.items() if value]


def _plain(rpc: Rpc) -> str:
    """The content of the route's `plain`, with the names that the fields have in the file."""
    names = {field.name: name for field, name in _named(rpc.request)}
    parts = []
    if rpc.positional:
        quoted = ", ".join(_quoted(names[one]) for one in rpc.positional)
        parts.append(f"positional: [{quoted}]")
    if rpc.application:
        parts.append(f"application: {_quoted(rpc.application)}")
    for key, name in (("args", rpc.args), ("kwargs", rpc.kwargs)):
        if name:
            parts.append(f"{key}: {_quoted(names[name])}")
    if rpc.result:
        parts.append(f"result: {_quoted(rpc.result)}")
    return ", ".join(parts)


def _comment(text: str) -> Iterator[str]:
    for line in text.splitlines():
        shown = "".join(one if one.isprintable() else " " for one in line).rstrip()
        yield f"// {shown}".rstrip()


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)


def _quoted(text: str) -> str:
    return f'"{text_encoding.CEscape(text, as_utf8=True)}"'  # type: ignore[arg-type]
