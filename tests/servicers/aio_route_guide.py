"""The RouteGuide of route_guide.py as an ordinary servicer of `grpc.aio.server`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import grpc

from tests.servicers import route_guide_pb2_grpc
from tests.servicers.route_guide import FEATURES, distance_m, feature_at, is_within
from tests.servicers.route_guide_pb2 import Feature, Point, Rectangle, RouteNote, RouteSummary


class AioRouteGuide(route_guide_pb2_grpc.RouteGuideServicer):
    """All four kinds of methods."""

    async def GetFeature(self, request: Point, context: Any) -> Feature:  # type: ignore[override]
        if abs(request.latitude) > 90 * 10**7:
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, "beyond the pole")
        return feature_at(request) or Feature(location=request)

    async def ListFeatures(  # type: ignore[override]
        self, request: Rectangle, context: Any
    ) -> AsyncIterator[Feature]:
        found = [feature for feature in FEATURES if is_within(feature.location, request)]
        for feature in found:
            yield feature
        context.set_trailing_metadata((("x-found", str(len(found))),))

    async def RecordRoute(  # type: ignore[override]
        self, request_iterator: Any, context: Any
    ) -> RouteSummary:
        began, before = time.monotonic(), None
        summary, distance = RouteSummary(), 0.0
        async for point in request_iterator:
            summary.point_count += 1
            summary.feature_count += feature_at(point) is not None
            distance += distance_m(before, point) if before is not None else 0.0
            before = point
        summary.distance, summary.elapsed_time = int(distance), int(time.monotonic() - began)
        return summary

    async def RouteChat(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        """Reads and writes, instead of iterating and yielding."""
        left: list[RouteNote] = []
        while (note := await context.read()) is not grpc.aio.EOF:
            if not note.message:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a note has something to say")
            for other in left:
                if other.location == note.location:
                    await context.write(other)
            left.append(note)
        context.set_trailing_metadata((("x-notes", str(len(left))),))
