"""A method with a stream of requests, where one request of HTTP carries the whole stream."""

from __future__ import annotations

from functools import cached_property

from forebay_gateway.web.methods import WebMethod


class _OneRequest(WebMethod):
    @cached_property
    def client_streaming(self) -> bool:
        return False


def one_request(method: WebMethod) -> WebMethod:
    """The method for callers that send its one request, and then no more.

    HTTP/1.1 can't interleave requests and responses, but it can carry a stream of one request, such
    as that of a product of random matrices.
    """
    if not method.client_streaming:
        return method
    return _OneRequest(method.path, method.descriptor, method.handler, method.is_known_safe)
