"""Serves `/openapi.json`: to each caller, the methods that it may call."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError

from forebay.routes.sources import is_descriptor_set
from forebay.v1 import calls_pb2
from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.identity.principal import Principal
from forebay_gateway.identity.requirements import MAX_VIEWS, MayCall
from forebay_gateway.rpc.context import Context, Handler
from forebay_gateway.web.context import serve_rpc
from forebay_gateway.web.exchange import Exchange, Receive, Scope, Send
from forebay_gateway.web.large_work import worked
from forebay_gateway.web.methods import WebMethod
from forebay_gateway.web.openapi.comments import comments_of
from forebay_gateway.web.openapi.document import About, ServedMethod, document
from forebay_gateway.web.rest.bindings import rpc_path
from forebay_gateway.web.rest.no_request import NoRequest
from forebay_gateway.web.rest.responses import JsonResponse
from forebay_gateway.web.rest.served_bindings import OPENAPI_PATH
from forebay_gateway.web.rest.timeouts import read_timeout

_DESCRIPTIONS = "descriptions.binpb"
_LONG_WORK = 1 << 20
"""The size given to `worked`: making a document takes as long as a large message, 10 ms or more."""
_OF_GRPC = "grpc."
"""Services of gRPC itself, such as health and reflection, are not listed."""

# The document is served as if it were the response of a method without a request.
_WHO_AM_I = calls_pb2.DESCRIPTOR.services_by_name["CallService"].methods_by_name["WhoAmI"]

_log = logging.getLogger(__name__)


class OpenApi:
    """Makes the documents when they are asked for.

    `services` are the modules and descriptor sets of the setting `services`.
    """

    def __init__(
        self,
        methods: Callable[[], Sequence[ServedMethod]],
        services: Sequence[str],
        may_call: MayCall,
        *,
        has_authentication: bool,
    ) -> None:
        self._methods = methods
        self._services = services
        self._may_call = may_call
        self._has_authentication = has_authentication
        self._view = lru_cache(MAX_VIEWS)(self._make)

    @property
    def handler(self) -> Handler:
        """Responds with the document, JSON; the request is not read."""

        async def serve(context: Context) -> bytes:
            principal = context.principal
            return await worked(_LONG_WORK, self._visible_to, principal)

        return Handler(serve, streams_responses=False)

    def _visible_to(self, principal: Principal) -> bytes:
        return self._view(
            frozenset(path for path in self._by_path if self._may_call(principal, path))
        )

    @cached_property
    def _by_path(self) -> Mapping[str, ServedMethod]:
        return {
            rpc_path(method.rpc): method
            for method in self._methods()
            if not method.rpc.containing_service.full_name.startswith(_OF_GRPC)
        }

    @cached_property
    def _about(self) -> About:
        comments = comments_of((*_own_files(), *_files_of_sets(self._services)))
        return About("Forebay", version("forebay"), self._has_authentication, comments)

    def _make(self, paths: frozenset[str]) -> bytes:
        methods = [method for path, method in self._by_path.items() if path in paths]
        return json.dumps(document(methods, self._about), ensure_ascii=False).encode()


class DocumentEndpoint:
    """The ASGI application of the document; `handler` is `OpenApi.handler`, guarded."""

    def __init__(self, handler: Handler, limits: FrontLimits) -> None:
        self._method = WebMethod(OPENAPI_PATH, _WHO_AM_I, handler)
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        if exchange.method != "GET":
            await exchange.respond(405, [(b"allow", b"GET")])
            return
        responses = JsonResponse(exchange, _as_it_is)
        requests = NoRequest()
        await serve_rpc(exchange, self._method, self._limits, requests, responses, read_timeout)


async def _as_it_is(document: bytes) -> bytes:
    return document


def _own_files() -> Iterable[FileDescriptorProto]:
    packed = files("forebay_gateway.web.openapi").joinpath(_DESCRIPTIONS).read_bytes()
    return FileDescriptorSet.FromString(packed).file


def _files_of_sets(services: Sequence[str]) -> Iterable[FileDescriptorProto]:
    """The files of the descriptor sets; they were read and checked at the start."""
    for name in filter(is_descriptor_set, services):
        try:
            yield from FileDescriptorSet.FromString(Path(name).read_bytes()).file
        except (OSError, DecodeError) as error:
            _log.warning("%s: its comments are missing in /openapi.json: %s", name, error)
