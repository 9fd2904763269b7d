"""Server reflection, v1 and v1alpha, for grpcurl and similar tools.

Both protocols have the same messages under two package names, so one handler serves both. It
answers from a descriptor pool that holds only the services of this gateway, with only those methods
that the caller may call. Unlike grpcio-reflection, it finds methods, fields and enum values by
their full names, too (grpc issue 34743).
https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import grpc
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import Default, DescriptorPool
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha import reflection_pb2 as pb

from forebay.routes import Method
from forebay.routes.descriptor_conflicts import with_dependencies
from forebay.v1 import errors_pb2
from forebay_gateway.identity.principal import Principal
from forebay_gateway.identity.requirements import MAX_VIEWS, MayCall, everything
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.own_methods import OwnMethod, each_answered

V1_SERVICE = "grpc.reflection.v1.ServerReflection"
V1ALPHA_SERVICE = "grpc.reflection.v1alpha.ServerReflection"
SERVICES = (V1_SERVICE, V1ALPHA_SERVICE)
_METHOD = "ServerReflectionInfo"
# Callers look up the messages in error details, which no service's file imports.
_ERROR_FILES = (errors_pb2.DESCRIPTOR, error_details_pb2.DESCRIPTOR, status_pb2.DESCRIPTOR)

_log = logging.getLogger(__name__)


def reflection_methods(
    methods: Iterable[Method], own_services: Iterable[str], may_call: MayCall = everything
) -> dict[str, OwnMethod]:
    """The method of both protocols, by its paths; for the services of `methods` and own ones.

    A caller sees the methods that it may call, and no file that has nothing for it.
    """
    services = {method.service: method.pool.FindServiceByName(method.service) for method in methods}
    for name in sorted({*own_services, V1ALPHA_SERVICE}):
        services[name] = Default().FindServiceByName(name)
    views = _Views(services, may_call)

    def answer(
        request: pb.ServerReflectionRequest, context: Context
    ) -> pb.ServerReflectionResponse:
        return views.of(context.principal).answer(request)

    method = each_answered(pb.ServerReflectionRequest, answer)
    return {f"/{service}/{_METHOD}": method for service in SERVICES}


class _Views:
    """What callers see, by the methods that they may call."""

    def __init__(self, services: Mapping[str, ServiceDescriptor], may_call: MayCall) -> None:
        self._services = services
        self._paths = {
            f"/{name}/{method.name}"
            for name, service in services.items()
            for method in service.methods
        }
        self._may_call = may_call
        self._view = lru_cache(MAX_VIEWS)(self._make)
        self._view(frozenset(self._paths))  # conflicts of files are logged at the start

    def of(self, principal: Principal) -> _Reflection:
        return self._view(
            frozenset(path for path in self._paths if self._may_call(principal, path))
        )

    def _make(self, paths: frozenset[str]) -> _Reflection:
        names = {path.split("/")[1] for path in paths}
        roots = [service.file for name, service in self._services.items() if name in names]
        files = _Files((*roots, *_ERROR_FILES), paths, self._paths)
        files.add(_v1())
        return _Reflection(files, sorted({*names, V1_SERVICE}))


class _Files:
    """A pool of the files and their imports; of two files with one name, the first.

    Served methods that are not in `paths` are left out.
    """

    def __init__(
        self, roots: Iterable[FileDescriptor], paths: Collection[str], served: Collection[str]
    ) -> None:
        self.pool = DescriptorPool()
        self._names: list[str] = []
        hidden = frozenset(served) - frozenset(paths)
        for file in with_dependencies(roots):
            try:
                self.add(_without(_proto_of(file), hidden))
            except TypeError as error:  # a user's copy of the file has another name
                _log.warning("reflection does not include %s: %s", file.name, error)

    def add(self, proto: descriptor_pb2.FileDescriptorProto) -> None:
        """Adds a file; its imports must be there. Raises TypeError if it conflicts with another."""
        self.pool.AddSerializedFile(proto.SerializeToString())
        self._names.append(proto.name)

    def __iter__(self) -> Iterator[FileDescriptor]:
        return map(self.pool.FindFileByName, self._names)


class _Reflection:
    def __init__(self, files: _Files, services: Sequence[str]) -> None:
        self._files = files
        self._pool = files.pool
        self._services = services

    def answer(self, request: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
        response = pb.ServerReflectionResponse(valid_host=request.host, original_request=request)
        try:
            match request.WhichOneof("message_request"):
                case "list_services":
                    for service in self._services:
                        response.list_services_response.service.add(name=service)
                case "file_by_filename":
                    self._add_file(response, self._pool.FindFileByName(request.file_by_filename))
                case "file_containing_symbol":
                    self._add_file(response, self._file_of(request.file_containing_symbol))
                case "file_containing_extension":
                    wanted = request.file_containing_extension
                    extended = self._pool.FindMessageTypeByName(wanted.containing_type)
                    extension = self._pool.FindExtensionByNumber(extended, wanted.extension_number)
                    self._add_file(
                        response, self._pool.FindFileContainingSymbol(extension.full_name)
                    )
                case "all_extension_numbers_of_type":
                    self._add_extensions(response, request.all_extension_numbers_of_type)
                case _:
                    _set_error(response, grpc.StatusCode.INVALID_ARGUMENT, "no request is set")
        except KeyError:
            _set_error(response, grpc.StatusCode.NOT_FOUND, "not found")
        return response

    def _add_file(self, response: pb.ServerReflectionResponse, file: FileDescriptor) -> None:
        """Adds the file, then its imports."""
        response.file_descriptor_response.file_descriptor_proto.extend(
            _proto_of(needed).SerializeToString()
            for needed in reversed(tuple(with_dependencies([file])))
        )

    def _add_extensions(self, response: pb.ServerReflectionResponse, name: str) -> None:
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
        """An enum value's full name lacks the enum: PACKAGE.VALUE, or MESSAGE.VALUE."""
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


def _proto_of(file: Any) -> descriptor_pb2.FileDescriptorProto:
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    return proto


def _without(
    file: descriptor_pb2.FileDescriptorProto, hidden: Collection[str]
) -> descriptor_pb2.FileDescriptorProto:
    """The file without the hidden methods, and without services that have no others."""
    for service in reversed(file.service):
        name = f"{file.package}.{service.name}".lstrip(".")
        seen = [one for one in service.method if f"/{name}/{one.name}" not in hidden]
        if len(seen) == len(service.method):
            continue
        if seen:
            del service.method[:]
            service.method.extend(seen)
        else:
            file.service.remove(service)
    return file


def _set_error(response: pb.ServerReflectionResponse, code: grpc.StatusCode, message: str) -> None:
    response.error_response.error_code = code.value[0]
    response.error_response.error_message = message


def _v1() -> descriptor_pb2.FileDescriptorProto:
    """The v1alpha file under the name and package of v1."""
    file = _proto_of(pb.DESCRIPTOR)
    file.name, file.package = "grpc/reflection/v1/reflection.proto", "grpc.reflection.v1"
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(".v1alpha.", ".v1.")
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(".v1alpha.", ".v1.")
        method.output_type = method.output_type.replace(".v1alpha.", ".v1.")
    return file
