"""Files of services that are described here and never compiled."""

from __future__ import annotations

from pathlib import Path

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2, duration_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from forebay.v1 import route_pb2

TEXT = FieldDescriptorProto.TYPE_STRING
NUMBER = FieldDescriptorProto.TYPE_INT32
ROUTE_FILE = "forebay/v1/route.proto"
IMPORTS = tuple(
    FileDescriptorProto.FromString(known.DESCRIPTOR.serialized_pb)
    for known in (descriptor_pb2, duration_pb2, route_pb2)
)
"""The imports of a file with a route, in order."""
HTTP_IMPORTS = tuple(
    FileDescriptorProto.FromString(known.DESCRIPTOR.serialized_pb)
    for known in (http_pb2, annotations_pb2)
)
"""The further imports of a file with a binding to HTTP."""


def file(
    name: str = "shop.proto",
    package: str = "shop",
    *,
    fields: tuple[str, ...] = ("a",),
    routes: dict[str, route_pb2.Route] | None = None,
    streams: bool = False,
    imports: tuple[str, ...] = (ROUTE_FILE,),
    kind: FieldDescriptorProto.Type.ValueType = TEXT,
) -> FileDescriptorProto:
    """A file with the messages M and E and the service S, with a method for each of the routes."""
    proto = FileDescriptorProto(name=name, package=package, syntax="proto3", dependency=imports)
    message = proto.message_type.add(name="M")
    for number, field in enumerate(fields, start=1):
        message.field.add(
            name=field, number=number, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL
        )
    proto.message_type.add(name="E")
    if routes is not None:
        service = proto.service.add(name="S")
        for method, route in routes.items():
            declared = service.method.add(
                name=method,
                input_type=f".{package}.M",
                output_type=f".{package}.E",
                server_streaming=streams,
            )
            if route != route_pb2.Route():
                declared.options.Extensions[route_pb2.route].CopyFrom(route)
    return proto


def route(task: str = "shop.run", **fields: object) -> route_pb2.Route:
    """A route to the task."""
    return route_pb2.Route(**{"task": task, "queue": "q", **fields})  # type: ignore[arg-type]


def write_set(path: Path, *files: FileDescriptorProto) -> str:
    """Writes a descriptor set of the files; its name."""
    path.write_bytes(descriptor_pb2.FileDescriptorSet(file=files).SerializeToString())
    return str(path)
