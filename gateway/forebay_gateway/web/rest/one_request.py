"""Methods with a stream of requests, over HTTP requests that each carry a whole stream."""

from __future__ import annotations

from functools import cached_property

from forebay_gateway.web.methods import WebMethod


class _OneRequest(WebMethod):
    @cached_property
    def client_streaming(self) -> bool:
        return False


def one_request(method: WebMethod) -> WebMethod:
    """The method for callers that send one request message, as if it took only one.

    HTTP/1.1 can't interleave requests and responses, but it can carry a stream of one request.
    """
    if not method.client_streaming:
        return method
    return _OneRequest(method.path, method.descriptor, method.handler, method.is_known_safe)
