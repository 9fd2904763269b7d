"""The services of a server, read by server reflection.

https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import click
import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection_pb2 as pb

from forebay.cli.connection import Server
from forebay.cli.ctrl_c import CancelOnCtrlC
from forebay.routes import NO_ROUTES, Method, RouteFile, all_methods
from forebay.routes.sources import SourceError, source_of_files

# v1 and v1alpha have the same messages.
_PATHS = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)
_TIMEOUT_S = 10.0
# Services that every gateway has. Commands that take a method's name ignore them.
_OWN = (
    "forebay.v1.CallService",
    "google.longrunning.Operations",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)


@dataclass(frozen=True)
class Reflected:
    """The methods of a server's services, and the descriptor pool of their messages."""

    pool: DescriptorPool
    methods: tuple[Method, ...]


def reflected(
    server: Server, ctrl_c: CancelOnCtrlC, routes: RouteFile = NO_ROUTES
) -> Reflected | None:
    """The methods by reflection; `routes` may have routes for methods without the option.

    None if the server has no reflection, or only the services that every gateway has. Raises
    `grpc.RpcError`.
    """
    for path in _PATHS:
        try:
            return _read(_Reflection(server, path, ctrl_c), server.target, routes)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                raise
    return None


class _Reflection:
    def __init__(self, server: Server, path: str, ctrl_c: CancelOnCtrlC) -> None:
        self._invoke = server.channel.stream_stream(
            path,
            request_serializer=pb.ServerReflectionRequest.SerializeToString,
            response_deserializer=pb.ServerReflectionResponse.FromString,
        )
        self._ctrl_c = ctrl_c

    def services(self) -> list[str]:
        """The names of the services, without a gateway's own."""
        names = [
            service.name
            for answer in self._answers([pb.ServerReflectionRequest(list_services="")])
            for service in answer.list_services_response.service
        ]
        return [name for name in names if name not in _OWN]

    def files(self, services: Iterable[str]) -> dict[str, FileDescriptorProto]:
        """The files that declare the services, and the files these import, by name."""
        requests = [pb.ServerReflectionRequest(file_containing_symbol=name) for name in services]
        files = [
            FileDescriptorProto.FromString(raw)
            for answer in self._answers(requests)
            for raw in answer.file_descriptor_response.file_descriptor_proto
        ]
        return {file.name: file for file in files}

    def _answers(
        self, requests: list[pb.ServerReflectionRequest]
    ) -> Iterator[pb.ServerReflectionResponse]:
        call = self._invoke(iter(requests), timeout=_TIMEOUT_S)
        return self._ctrl_c.responses(call)


def _read(reflection: _Reflection, target: str, routes: RouteFile) -> Reflected | None:
    services = reflection.services()
    if not services:
        return None
    try:
        pool = source_of_files(target, reflection.files(services)).pool
        described = [pool.FindServiceByName(name) for name in services]
    except (SourceError, DecodeError, KeyError) as error:
        raise click.ClickException(f"{target}: what reflection returned {error}") from error
    return Reflected(pool, all_methods(described, routes))
