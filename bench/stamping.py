"""`celery -A bench.stamping worker -Q echo`: a handler that stamps items when it yields them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import grpc

from forebay_workers import application
from tests.echo.v1 import echo_pb2, echo_pb2_grpc
from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse


class StampingServicer(echo_pb2_grpc.EchoServiceServicer):
    """A servicer with one handler; its other methods are unimplemented."""

    def ServerStream(  # noqa: N802 - named as in the contract
        self, request: EchoRequest, context: grpc.ServicerContext
    ) -> Iterator[EchoResponse]:
        """Yields `count` items, `seconds` apart; their text is the monotonic clock's time in ns.

        All processes of a host share that clock.
        """
        for index in range(request.count):
            time.sleep(request.seconds)
            yield EchoResponse(text=str(time.monotonic_ns()), index=index)


app = application(
    "stamping",
    {echo_pb2.DESCRIPTOR.services_by_name["EchoService"]: StampingServicer()},  # type: ignore[abstract]
)
