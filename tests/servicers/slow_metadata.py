"""A servicer that sends its initial metadata after a while."""

from __future__ import annotations

import time
from typing import Any

from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse
from tests.echo.v1.echo_pb2_grpc import EchoServiceServicer

METADATA = (("x-initial", "1"),)


class SlowMetadata(EchoServiceServicer):
    """Sends `METADATA` when the request's `seconds` have passed, and responds."""

    def Unary(self, request: EchoRequest, context: Any) -> EchoResponse:
        time.sleep(request.seconds)
        context.send_initial_metadata(METADATA)
        return EchoResponse()
