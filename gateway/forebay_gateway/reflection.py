"""Server reflection, v1 and v1alpha: what this gateway serves, for grpcurl and its like.

The two protocols are the same messages under two package names, so one handler
serves both on their bytes. Answers come from the descriptor pool of the running
process; unlike grpcio-reflection's they know methods, fields and enum values by
their full names too (grpc issue 34743).
https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import Default, DescriptorPool
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha import reflection_pb2 as pb

from forebay.v1 import errors_pb2
from forebay_gateway.status import request_parser

V1_SERVICE = "grpc.reflection.v1.ServerReflection"
V1ALPHA_SERVICE = "grpc.reflection.v1alpha.ServerReflection"
_METHOD = "ServerReflectionInfo"
# What errors are made of: no service's file imports it, but callers look it up.
_TOLD_BESIDES = (errors_pb2.DESCRIPTOR, error_details_pb2.DESCRIPTOR, status_pb2.DESCRIPTOR)

_parse = request_parser(pb.ServerReflectionRequest)


def reflection_handlers(services: Sequence[str]) -> list[grpc.GenericRpcHandler]:
    """The handlers of both protocols; they tell of `services` and of themselves."""
    pool = Default()
    _add_v1(pool)
    reflection = _Reflection(pool, sorted({*services, V1_SERVICE, V1ALPHA_SERVICE}))
    method: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
        reflection.info,
        response_serializer=pb.ServerReflectionResponse.SerializeToString,
    )
    return [
        grpc.method_handlers_generic_handler(service, {_METHOD: method})
        for service in (V1_SERVICE, V1ALPHA_SERVICE)
    ]


class _Reflection:
    def __init__(self, pool: DescriptorPool, services: Sequence[str]) -> None:
        self._pool = pool
        self._services = services
        seen: set[str] = set()
        self._files = [
            file
            for root in (*(pool.FindServiceByName(name).file for name in services), *_TOLD_BESIDES)
            for file in _with_dependencies(root, seen)
        ]
        self._names = seen

    async def info(
        self,
        requests: AsyncIterator[bytes],
        context: grpc.aio.ServicerContext[bytes, bytes],
    ) -> AsyncIterator[pb.ServerReflectionResponse]:
        async for request in requests:
            yield self._answer(await _parse(request, context))

    def _answer(self, request: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
        response = pb.ServerReflectionResponse(valid_host=request.host, original_request=request)
        try:
            match request.WhichOneof("message_request"):
                case "list_services":
                    for service in self._services:
                        response.list_services_response.service.add(name=service)
                case "file_by_filename":
                    self._tell(response, self._pool.FindFileByName(request.file_by_filename))
                case "file_containing_symbol":
                    self._tell(response, self._file_of(request.file_containing_symbol))
                case "file_containing_extension":
                    asked = request.file_containing_extension
                    extended = self._pool.FindMessageTypeByName(asked.containing_type)
                    extension = self._pool.FindExtensionByNumber(extended, asked.extension_number)
                    self._tell(response, self._pool.FindFileContainingSymbol(extension.full_name))
                case "all_extension_numbers_of_type":
                    self._tell_extensions(response, request.all_extension_numbers_of_type)
                case _:
                    _refuse(response, grpc.StatusCode.INVALID_ARGUMENT, "no request is set")
        except KeyError:
            _refuse(response, grpc.StatusCode.NOT_FOUND, "not found")
        return response

    def _tell(self, response: pb.ServerReflectionResponse, file: FileDescriptor) -> None:
        if file.name not in self._names:
            raise KeyError(file.name)  # imported by this process, but nobody's contract
        for needed in _with_dependencies(file, set()):
            proto = descriptor_pb2.FileDescriptorProto()
            needed.CopyToProto(proto)
            response.file_descriptor_response.file_descriptor_proto.append(
                proto.SerializeToString()
            )

    def _tell_extensions(self, response: pb.ServerReflectionResponse, name: str) -> None:
        extended = self._pool.FindMessageTypeByName(name)
        answer = response.all_extension_numbers_response
        answer.base_type_name = name
        answer.extension_number.extend(
            sorted(extension.number for extension in self._pool.FindAllExtensions(extended))
        )

    def _file_of(self, symbol: str) -> FileDescriptor:
        finders: tuple[Callable[[str], Any], ...] = (
            self._pool.FindFileContainingSymbol,
            self._pool.FindMethodByName,
            self._pool.FindFieldByName,
        )
        for find in finders:
            try:
                found = find(symbol)
            except KeyError:
                continue
            return found if isinstance(found, FileDescriptor) else _file_of_member(found)
        return self._file_of_enum_value(symbol)

    def _file_of_enum_value(self, symbol: str) -> FileDescriptor:
        """Enum values are siblings of their enum: PACKAGE.VALUE, or MESSAGE.VALUE."""
        scope, _, _ = symbol.rpartition(".")
        for file in self._files:
            for enum in _enums(file):
                prefix = enum.full_name.rpartition(".")[0]
                if prefix == scope and symbol.removeprefix(f"{scope}.") in enum.values_by_name:
                    return file
        raise KeyError(symbol)


def _file_of_member(member: Any) -> FileDescriptor:
    owner = getattr(member, "containing_service", None)
    file: FileDescriptor = owner.file if owner is not None else member.file
    return file


def _enums(file: FileDescriptor) -> Iterator[Any]:
    yield from file.enum_types_by_name.values()
    messages = list(file.message_types_by_name.values())
    while messages:
        message = messages.pop()
        yield from message.enum_types
        messages.extend(message.nested_types)


def _with_dependencies(file: FileDescriptor, seen: set[str]) -> Iterator[FileDescriptor]:
    """The file, then what it imports, each once."""
    if file.name in seen:
        return
    seen.add(file.name)
    yield file
    for dependency in file.dependencies:
        yield from _with_dependencies(dependency, seen)


def _refuse(response: pb.ServerReflectionResponse, code: grpc.StatusCode, message: str) -> None:
    response.error_response.error_code = code.value[0]
    response.error_response.error_message = message


def _add_v1(pool: DescriptorPool) -> None:
    """Puts v1 into the pool: v1alpha's file under the other package name."""
    name = "grpc/reflection/v1/reflection.proto"
    try:
        pool.FindFileByName(name)
    except KeyError:
        alpha = descriptor_pb2.FileDescriptorProto()
        pb.DESCRIPTOR.CopyToProto(alpha)
        file = descriptor_pb2.FileDescriptorProto.FromString(alpha.SerializeToString())
        file.name, file.package = name, "grpc.reflection.v1"
        for message in file.message_type:
            for field in message.field:
                if field.type_name:
                    field.type_name = field.type_name.replace(".v1alpha.", ".v1.")
        for method in file.service[0].method:
            method.input_type = method.input_type.replace(".v1alpha.", ".v1.")
            method.output_type = method.output_type.replace(".v1alpha.", ".v1.")
        pool.AddSerializedFile(file.SerializeToString())
