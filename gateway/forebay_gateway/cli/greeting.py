"""The greeting of `forebay up` once it is ready: its services, and what to type next. Pure.

The printed commands can be copied: they name the program as the user typed it, and the address
unless it is the default.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from forebay.cli.targets import reachable
from forebay.defaults import LISTEN
from forebay.routes import Method

_NUMBERS = frozenset(
    {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}
    | {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64}
    | {FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64}
)


def greeting(
    methods: Sequence[Method],
    address: str,
    program: str = "forebay",
    *,
    names_address: bool = False,
    web: str = "",
) -> str:
    """The lines to print; with `names_address`, commands name even the default address.

    `web` is the URL for browsers; empty if they are not served.
    """
    reachable_at = reachable(address)
    target = f" -t {reachable_at}" if names_address or reachable_at != LISTEN else ""
    commands = [f"{program} call{target} {sample_call(methods)}"]
    if reachable_at == address and any(not method.is_plain for method in methods):
        commands.append(f"{program} ps{target}")
    return "\n".join(
        [
            *(f"  serves {service}: {names}" for service, names in _served(methods)),
            *([f"  serves browsers on {web}"] if web else []),
            "  try, in another terminal:",
            *(f"    {command}" for command in commands),
            "  Ctrl-C stops everything",
        ]
    )


def sample_call(methods: Sequence[Method]) -> str:
    """A method and values for its fields, such as `Add x=1 y=2`; a unary method if there is one."""
    ordered = sorted(methods, key=lambda method: (method.client_streaming, method.server_streaming))
    method = ordered[0]
    short = method.name.rpartition(".")[2]
    is_unique = [each.name.rpartition(".")[2] for each in methods].count(short) == 1
    fields = _sample_fields(method.request_class)
    return " ".join([short if is_unique else method.name, *fields])


def _served(methods: Sequence[Method]) -> Iterator[tuple[str, str]]:
    for service, group in groupby(sorted(methods, key=_service_of), _service_of):
        yield service, ", ".join(method.name.rpartition(".")[2] for method in group)


def _service_of(method: Method) -> str:
    return method.service


def _sample_fields(request: type[Message]) -> Iterator[str]:
    """Values of singular numbers, booleans and strings; of each oneof, only its first field."""
    number = 0
    for field in request.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if field.is_repeated or (oneof is not None and oneof.fields[0] is not field):
            continue
        if field.cpp_type in _NUMBERS:
            number += 1
            yield f"{field.name}={number}"
        elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            yield f"{field.name}=true"
        elif field.type == FieldDescriptor.TYPE_STRING:
            yield f"{field.name}=text"
