"""An ordinary servicer of gRPC's Greeter, which uses nothing of Forebay."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from tests.servicers import helloworld_pb2_grpc
from tests.servicers.helloworld_pb2 import HelloReply, HelloRequest


class _Refusal(grpc.Status):
    def __init__(self, status: status_pb2.Status) -> None:
        self.code = grpc.StatusCode.RESOURCE_EXHAUSTED
        self.details = status.message
        self.trailing_metadata = (("grpc-status-details-bin", status.SerializeToString()),)


def too_many() -> grpc.Status:
    """A status with details."""
    violation = error_details_pb2.QuotaFailure.Violation(subject="greetings", description="enough")
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.QuotaFailure(violations=[violation]))
    return _Refusal(
        status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="enough", details=[detail])
    )


class Greeter(helloworld_pb2_grpc.GreeterServicer):
    """Greets, and uses most methods of a context; SayHelloBidiStream is not implemented."""

    def SayHello(self, request: HelloRequest, context: grpc.ServicerContext) -> HelloReply:
        match request.name:
            case "":
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a name is missing")
            case "nobody":
                context.set_code(grpc.StatusCode.NOT_FOUND)
                context.set_details("nobody is here")
                return HelloReply()
            case "everybody":
                context.abort_with_status(too_many())
            case "trouble":
                context.set_trailing_metadata((("checksum-bin", b"\x00"),))
                context.set_code(grpc.StatusCode.FAILED_PRECONDITION)
                context.set_details("no greeting today")
                raise RuntimeError("which is said in the log only")
        metadata = context.invocation_metadata()
        tones = [entry.value for entry in metadata if entry.key == "x-tone"]
        context.send_initial_metadata((("x-greeter", "ordinary"),))
        context.set_trailing_metadata((("checksum-bin", b"I agree\xff"), ("retry", "false")))
        return HelloReply(message=f"{(tones or ['Hello'])[0]}, {request.name}!")

    def SayHelloStreamReply(
        self, request: HelloRequest, context: grpc.ServicerContext
    ) -> Iterator[HelloReply]:
        for greeting in ("Hello", "Hallo", "Bonjour"):
            yield HelloReply(message=f"{greeting}, {request.name}!")
        try:
            context.send_initial_metadata((("x-greeter", "late"),))
        except ValueError:
            context.set_trailing_metadata((("x-late", "yes"),))
        if request.name == "stranger":
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "who goes there?")
