"""Strategies: messages of any type, and mutated valid bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hypothesis import strategies as st

_DEPTH = 3
_FD = FieldDescriptor
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    _FD.CPPTYPE_INT32: st.sampled_from([0, 1, -1, 7, (1 << 31) - 1, -(1 << 31)]),
    _FD.CPPTYPE_INT64: st.sampled_from([0, 1, -1, 7, (1 << 63) - 1, -(1 << 63)]),
    _FD.CPPTYPE_UINT32: st.sampled_from([0, 1, 2, 7, (1 << 32) - 1]),
    _FD.CPPTYPE_UINT64: st.sampled_from([0, 1, 2, 7, 1999, (1 << 64) - 1]),
    _FD.CPPTYPE_DOUBLE: st.floats(),
    _FD.CPPTYPE_FLOAT: st.floats(width=32),
    _FD.CPPTYPE_BOOL: st.booleans(),
    _FD.CPPTYPE_STRING: st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
}


@st.composite
def messages(draw: st.DrawFn, of: Descriptor, depth: int = _DEPTH) -> Any:
    """A message of the type, with any fields."""
    message = GetMessageClass(of)()
    for field in of.fields:
        if not draw(st.booleans()):
            continue
        for _ in range(draw(st.integers(1, 3)) if field.is_repeated else 1):
            _set(draw, message, field, depth)
    return message


def _set(draw: st.DrawFn, message: Any, field: FieldDescriptor, depth: int) -> None:
    if field.cpp_type == _FD.CPPTYPE_MESSAGE:
        if depth == 0 or field.message_type.GetOptions().map_entry:
            return
        value = draw(messages(field.message_type, depth - 1))
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            getattr(message, field.name).CopyFrom(value)
        return
    if field.cpp_type == _FD.CPPTYPE_ENUM:
        value = draw(st.sampled_from([0, 1, 2, 77]))
    elif field.type == _FD.TYPE_BYTES:
        value = draw(st.binary(max_size=16))
    else:
        value = draw(_SCALARS[field.cpp_type])
    if field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


@st.composite
def mutated(draw: st.DrawFn, originals: st.SearchStrategy[bytes], most: int = 3) -> bytes:
    """Bytes of the strategy with bits flipped, and parts left out, doubled, or put in."""
    data = bytearray(draw(originals))
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 8)))
        match draw(st.sampled_from(["flip", "cut", "drop", "double", "insert"])):
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[at:]
            case "drop":
                del data[at:end]
            case "double":
                data[at:at] = data[at:end]
            case _:
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
    return bytes(data)


def served_methods(channel: grpc.Channel) -> Iterator[tuple[str, Descriptor]]:
    """Every method that the server reflects: its path, and the type of its requests."""
    pool, seen = DescriptorPool(), set[str]()
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[no-untyped-call]
    request = reflection_pb2.ServerReflectionRequest

    def ask(**fields: str) -> Any:
        (answer,) = stub.ServerReflectionInfo(iter([request(**fields)]), timeout=30)
        return answer

    def add(answer: Any) -> None:
        for serialized in answer.file_descriptor_response.file_descriptor_proto:
            file = FileDescriptorProto.FromString(serialized)
            if file.name in seen:
                continue
            seen.add(file.name)
            for name in file.dependency:
                add(ask(file_by_filename=name))
            pool.Add(file)  # type: ignore[attr-defined]

    for service in ask(list_services="").list_services_response.service:
        add(ask(file_containing_symbol=service.name))
        descriptor = pool.FindServiceByName(service.name)
        for method in descriptor.methods:
            yield f"/{service.name}/{method.name}", method.input_type
