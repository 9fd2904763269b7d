"""The Greeter of greeter.py as an ordinary servicer of `grpc.aio.server`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from tests.servicers import helloworld_pb2_grpc
from tests.servicers.greeter import too_many
from tests.servicers.helloworld_pb2 import HelloReply, HelloRequest


class AioGreeter(helloworld_pb2_grpc.GreeterServicer):
    """Greets, and uses most methods of a context; SayHelloBidiStream is not implemented."""

    async def SayHello(self, request: HelloRequest, context: Any) -> HelloReply:  # type: ignore[override]
        match request.name:
            case "":
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a name is missing")
            case "nobody":
                context.set_code(grpc.StatusCode.NOT_FOUND)
                context.set_details("nobody is here")
                return HelloReply()
            case "everybody":
                await context.abort_with_status(too_many())
            case "trouble":
                context.set_trailing_metadata((("checksum-bin", b"\x00"),))
                context.set_code(grpc.StatusCode.FAILED_PRECONDITION)
                context.set_details("no greeting today")
                raise RuntimeError("which is said in the log only")
        metadata = context.invocation_metadata()
        tones = [value for key, value in metadata if key == "x-tone"]
        await context.send_initial_metadata((("x-greeter", "ordinary"),))
        context.set_trailing_metadata((("checksum-bin", b"I agree\xff"), ("retry", "false")))
        return HelloReply(message=f"{(tones or ['Hello'])[0]}, {request.name}!")

    async def SayHelloStreamReply(  # type: ignore[override]
        self, request: HelloRequest, context: Any
    ) -> AsyncIterator[HelloReply]:
        for greeting in ("Hello", "Hallo", "Bonjour"):
            yield HelloReply(message=f"{greeting}, {request.name}!")
        try:
            await context.send_initial_metadata((("x-greeter", "late"),))
        except grpc.aio.UsageError:
            context.set_trailing_metadata((("x-late", "yes"),))
        if request.name == "stranger":
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "who goes there?")
