"""Servicers of services whose packages ship no `.proto`; their routes are in `routes.toml`."""

from __future__ import annotations

from typing import Any

from grpc_channelz.v1 import channelz_pb2 as channelz
from grpc_channelz.v1.channelz_pb2_grpc import ChannelzServicer
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceServicer


class Channelz(ChannelzServicer):  # type: ignore[misc]
    """Knows one server; its other methods have no route."""

    def GetServer(self, request: Any, context: Any) -> Any:
        """The server, under the id that is asked for."""
        ref = channelz.ServerRef(server_id=request.server_id, name="the server")
        return channelz.GetServerResponse(server=channelz.Server(ref=ref))


class Traces(TraceServiceServicer):  # type: ignore[misc]
    """A collector that rejects spans without a name."""

    def Export(self, request: Any, context: Any) -> Any:
        """The number of spans that were rejected, and the tenant that sent them."""
        spans = [
            span
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        tenant = dict(context.invocation_metadata()).get("x-tenant", "nobody")
        return traces.ExportTraceServiceResponse(
            partial_success=traces.ExportTracePartialSuccess(
                rejected_spans=sum(not span.name for span in spans), error_message=tenant
            )
        )
