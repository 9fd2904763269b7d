"""`forebay.v1.CallService/DescribeMethod`: a method's messages, to be read at run time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from forebay.errors import MethodUnknown
from forebay.routes import Method
from forebay.routes.descriptor_conflicts import with_dependencies
from forebay.v1 import calls_pb2 as pb
from forebay_gateway.admin.call_service import SERVICE
from forebay_gateway.identity.requirements import MayCall
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.own_methods import OwnMethod, by_path, unary


class Descriptions:
    """Serves the RPC, even without a ledger."""

    def __init__(self, methods: Iterable[Method], may_call: MayCall) -> None:
        self._methods = {method.name: method for method in methods}
        self._may_call = may_call

    def own_methods(self) -> dict[str, OwnMethod]:
        """The method, by its path."""
        describe = unary(pb.DescribeMethodRequest, self.describe_method)
        return by_path(SERVICE, {"DescribeMethod": describe})

    async def describe_method(
        self, request: pb.DescribeMethodRequest, context: Context
    ) -> pb.DescribeMethodResponse:
        """The method and all files that it needs; raises MethodUnknown."""
        method = self._methods.get(request.method)
        if method is None or not self._may_call(context.principal, method.path):
            raise MethodUnknown(f"{request.method!r} is not served here")
        return pb.DescribeMethodResponse(
            request_type=method.request_class.DESCRIPTOR.full_name,
            response_type=method.response_class.DESCRIPTOR.full_name,
            client_streaming=method.client_streaming,
            server_streaming=method.server_streaming,
            files=FileDescriptorSet(file=_files(method)),
        )


def _files(method: Method) -> Iterator[FileDescriptorProto]:
    """The method's file, after those that it imports; other methods are left out."""
    service = method.pool.FindServiceByName(method.service)
    for file in with_dependencies([service.file]):
        proto = FileDescriptorProto()
        file.CopyToProto(proto)
        kept = [one for one in proto.service if file is service.file and one.name == service.name]
        for one in kept:
            methods = [each for each in one.method if method.name.endswith(f".{each.name}")]
            del one.method[:]
            one.method.extend(methods)
        del proto.service[:]
        proto.service.extend(kept)
        yield proto
