"""The interceptor of polite.py as one of `grpc.aio`."""

from __future__ import annotations

from typing import Any

import grpc


def _refuse(request: Any, context: Any) -> Any:
    """An ordinary function, as in gRPC's own example of such an interceptor."""
    context.abort(grpc.StatusCode.PERMISSION_DENIED, "be polite")


class AioPolite(grpc.aio.ServerInterceptor):
    """Refuses calls whose metadata has a rude tone."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        metadata = handler_call_details.invocation_metadata
        if ("x-tone", "rude") in [(key, value) for key, value in metadata]:
            return grpc.unary_unary_rpc_method_handler(_refuse)
        return await continuation(handler_call_details)
