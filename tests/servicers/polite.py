"""An ordinary interceptor that rejects rude callers, and uses nothing of Forebay."""

from __future__ import annotations

from typing import Any

import grpc


def _refuse(request: Any, context: grpc.ServicerContext) -> Any:
    context.abort(grpc.StatusCode.PERMISSION_DENIED, "be polite")


class Polite(grpc.ServerInterceptor):
    """Refuses calls whose metadata has a rude tone."""

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        tones = [
            one.value for one in handler_call_details.invocation_metadata if one.key == "x-tone"
        ]
        if "rude" in tones:
            return grpc.unary_unary_rpc_method_handler(_refuse)
        return continuation(handler_call_details)
