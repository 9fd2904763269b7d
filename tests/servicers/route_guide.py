"""An ordinary servicer of gRPC's RouteGuide, which uses nothing of Forebay."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import grpc

from tests.servicers import route_guide_pb2_grpc
from tests.servicers.route_guide_pb2 import Feature, Point, Rectangle, RouteNote, RouteSummary

FEATURES = (
    Feature(name="Berkshire Valley", location=Point(latitude=409146138, longitude=-746188906)),
    Feature(name="Patriots Path", location=Point(latitude=407838351, longitude=-746143763)),
    Feature(name="U.S. 6", location=Point(latitude=413628156, longitude=-749015468)),
    Feature(name="Bailey Turn Road", location=Point(latitude=414777405, longitude=-740615601)),
)
_EARTH_M = 6_371_000


def feature_at(point: Point) -> Feature | None:
    """The feature there, if there is one."""
    return next((feature for feature in FEATURES if feature.location == point), None)


def distance_m(start: Point, end: Point) -> float:
    """Along the surface, by the haversine formula."""
    north, south = (math.radians(point.latitude / 1e7) for point in (start, end))
    east = math.radians((end.longitude - start.longitude) / 1e7)
    half_chord = (
        math.sin((south - north) / 2) ** 2
        + math.cos(north) * math.cos(south) * math.sin(east / 2) ** 2
    )
    return 2 * _EARTH_M * math.asin(math.sqrt(half_chord))


def is_within(point: Point, box: Rectangle) -> bool:
    """Whether the point is in the rectangle, its edges included."""
    south, north = sorted((box.lo.latitude, box.hi.latitude))
    west, east = sorted((box.lo.longitude, box.hi.longitude))
    return south <= point.latitude <= north and west <= point.longitude <= east


class RouteGuide(route_guide_pb2_grpc.RouteGuideServicer):
    """All four kinds of methods."""

    def GetFeature(self, request: Point, context: grpc.ServicerContext) -> Feature:
        if abs(request.latitude) > 90 * 10**7:
            context.abort(grpc.StatusCode.OUT_OF_RANGE, "beyond the pole")
        return feature_at(request) or Feature(location=request)

    def ListFeatures(self, request: Rectangle, context: grpc.ServicerContext) -> Iterator[Feature]:
        found = [feature for feature in FEATURES if is_within(feature.location, request)]
        yield from found
        context.set_trailing_metadata((("x-found", str(len(found))),))

    def RecordRoute(
        self, request_iterator: Iterator[Point], context: grpc.ServicerContext
    ) -> RouteSummary:
        began, before = time.monotonic(), None
        summary, distance = RouteSummary(), 0.0
        for point in request_iterator:
            summary.point_count += 1
            summary.feature_count += feature_at(point) is not None
            distance += distance_m(before, point) if before is not None else 0.0
            before = point
        summary.distance, summary.elapsed_time = int(distance), int(time.monotonic() - began)
        return summary

    def RouteChat(
        self, request_iterator: Iterator[RouteNote], context: grpc.ServicerContext
    ) -> Iterator[RouteNote]:
        left: list[RouteNote] = []
        for note in request_iterator:
            if not note.message:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a note has something to say")
            yield from (other for other in left if other.location == note.location)
            left.append(note)
        context.set_trailing_metadata((("x-notes", str(len(left))),))
