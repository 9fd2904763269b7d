"""The RPCs of `forebay.v1.CallService` that tell about the gateway itself: profiles."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from forebay.errors import FieldViolation, InvalidRequest
from forebay.v1 import calls_pb2 as pb
from forebay_gateway.admin.call_service import SERVICE
from forebay_gateway.profiling.profiler import MAX_DURATION_S, Profiler
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.own_methods import OwnMethod, by_path, unary


class ProcessService:
    """Serves them for one process of a gateway."""

    def __init__(self) -> None:
        self._profiler = Profiler()

    def own_methods(self) -> dict[str, OwnMethod]:
        """The methods, by their paths."""
        return by_path(SERVICE, {"ReadProfile": unary(pb.ReadProfileRequest, self.read_profile)})

    async def read_profile(
        self, request: pb.ReadProfileRequest, context: Context
    ) -> pb.ReadProfileResponse:
        """Samples this process for the requested time."""
        duration_s = seconds_of(request.duration)
        if not 0 < duration_s <= MAX_DURATION_S:
            expected = f"expected more than 0 s, and at most {MAX_DURATION_S:g} s"
            raise invalid("duration", f"is {duration_s:g} s; {expected}")
        return await self._profiler.profile(duration_s)

    def abort_remaining(self) -> None:
        """Ends the RPCs in flight: the gateway is shutting down."""
        self._profiler.abort()


def seconds_of(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def invalid(field: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {problem}", violations=(FieldViolation(field, problem),))
