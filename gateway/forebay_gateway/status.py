"""Errors at gRPC's edge."""

from __future__ import annotations

from typing import NoReturn

import grpc

from forebay.errors import STATUS_DETAILS_KEY, ForebayError, to_status
from forebay.metadata import Pairs

_CODES = {code.value[0]: code for code in grpc.StatusCode}


async def abort(
    context: grpc.aio.ServicerContext[bytes, bytes], error: ForebayError, trailing: Pairs = ()
) -> NoReturn:
    """Ends the RPC with the error's status and details."""
    status = to_status(error)
    await context.abort(
        _CODES.get(error.code, grpc.StatusCode.UNKNOWN),
        error.message,
        (*trailing, (STATUS_DETAILS_KEY, status.SerializeToString())),
    )
