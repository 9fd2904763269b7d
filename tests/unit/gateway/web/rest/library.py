"""`library.proto`, compiled into a pool of its own, as a gateway reads descriptor sets."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.message import Message

from forebay.routes.sources import read_source
from forebay_gateway.web.rest.bindings import Binding, Bindings, has_no_side_effects, read_bindings
from tests.protoc import descriptor_set

LIBRARY = Path(__file__).with_name("library.proto")


@cache
def compiled(text: str) -> FileDescriptor:
    with tempfile.TemporaryDirectory() as folder:
        source = read_source(str(descriptor_set(text, Path(folder))))
    found: FileDescriptor = source.pool.FindFileByName("t.proto")
    return found


def library() -> FileDescriptor:
    return compiled(LIBRARY.read_text())


def rpc(name: str) -> MethodDescriptor:
    found: MethodDescriptor = library().services_by_name["Library"].methods_by_name[name]
    return found


def message(name: str, /, **fields: Any) -> Message:
    return message_factory.GetMessageClass(library().message_types_by_name[name])(**fields)


def bindings(name: str) -> tuple[Binding, ...]:
    method = rpc(name)
    read = read_bindings(method, may_get=has_no_side_effects(method))
    assert not read.problems
    return read.bindings


def bindings_of_rule(rule: str, *, options: str = "", more: str = "") -> Bindings:
    """The bindings of a method with this rule; its request is `Everything`."""
    text = LIBRARY.read_text()
    service = (
        f"service Tested {{ rpc Do(Everything) returns (Everything) {{ {options} "
        f"option (google.api.http) = {{ {rule} }}; }} {more} }}"
    )
    file = compiled(text + service)
    method = file.services_by_name["Tested"].methods_by_name["Do"]
    return read_bindings(method, may_get=has_no_side_effects(method))
