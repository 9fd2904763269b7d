"""`externalscaler.ExternalScaler`, by which KEDA scales the workers of a queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from math import ceil

from forebay.errors import BackendUnavailable, FieldViolation, InvalidRequest
from forebay_gateway.admission.queue_limits import QueueLimits
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.own_methods import OwnMethod, by_path, server_streaming, unary
from forebay_gateway.scaling import externalscaler_pb2 as pb
from forebay_gateway.scaling.demand import QueueFigures, metric_value
from forebay_gateway.scaling.queues import Queues
from forebay_gateway.scaling.trigger import APPLICATION, QUEUE, Trigger, read_trigger

SERVICE = "externalscaler.ExternalScaler"
WATCH_INTERVAL_S = 1.0


class ExternalScaler:
    """Serves KEDA. `queues` and `limits` are by application; "" is the main broker."""

    def __init__(self, queues: Mapping[str, Queues], limits: Mapping[str, QueueLimits]) -> None:
        self._queues = queues
        self._limits = limits
        self._worker_slots: dict[tuple[str, str], float] = {}
        """Slots of the workers that were last seen, by application and queue."""

    def own_methods(self) -> dict[str, OwnMethod]:
        """The methods of the service, by their paths."""
        methods = {
            "IsActive": unary(pb.ScaledObjectRef, self.is_active),
            "StreamIsActive": server_streaming(pb.ScaledObjectRef, self.stream_is_active),
            "GetMetricSpec": unary(pb.ScaledObjectRef, self.get_metric_spec),
            "GetMetrics": unary(pb.GetMetricsRequest, self.get_metrics),
        }
        return by_path(SERVICE, methods)

    async def is_active(self, request: pb.ScaledObjectRef, context: Context) -> pb.IsActiveResponse:
        """Whether a call waits or runs."""
        return pb.IsActiveResponse(result=await self._is_active(self._trigger(request)))

    async def stream_is_active(
        self, request: pb.ScaledObjectRef, context: Context
    ) -> AsyncIterator[pb.IsActiveResponse]:
        """Like `is_active`, at once and at each change. An outage of a backend is not a change."""
        trigger = self._trigger(request)
        last: bool | None = None
        while True:
            with suppress(BackendUnavailable):
                active = await self._is_active(trigger)
                if active != last:
                    last = active
                    yield pb.IsActiveResponse(result=active)
            await asyncio.sleep(WATCH_INTERVAL_S)

    async def get_metric_spec(
        self, request: pb.ScaledObjectRef, context: Context
    ) -> pb.GetMetricSpecResponse:
        """One metric, whose target is the trigger's."""
        trigger = self._trigger(request)
        size = trigger.goal.size
        spec = pb.MetricSpec(
            metricName=trigger.metric_name, targetSize=max(1, round(size)), targetSizeFloat=size
        )
        return pb.GetMetricSpecResponse(metricSpecs=[spec])

    async def get_metrics(
        self, request: pb.GetMetricsRequest, context: Context
    ) -> pb.GetMetricsResponse:
        """The metric's value: the number of needed workers times the target."""
        trigger = self._trigger(request.scaledObjectRef)
        if request.metricName not in ("", trigger.metric_name):
            violation = FieldViolation("metricName", f"expected {trigger.metric_name}")
            raise InvalidRequest(
                f"the trigger has no metric {request.metricName!r}, only {trigger.metric_name}",
                violations=(violation,),
            )
        figures = await self._figures(trigger)
        slots = self._worker_slots.get((trigger.application, trigger.queue))
        value = metric_value(figures, trigger.goal, slots)
        metric = pb.MetricValue(
            metricName=trigger.metric_name, metricValue=ceil(value), metricValueFloat=value
        )
        return pb.GetMetricsResponse(metricValues=[metric])

    def _trigger(self, scaled: pb.ScaledObjectRef) -> Trigger:
        """Reads a trigger; raises InvalidRequest, also for a queue that no method is routed to."""
        trigger = read_trigger(scaled.scalerMetadata)
        limits = self._limits.get(trigger.application)
        if limits is None or trigger.application not in self._queues:
            raise _unknown(APPLICATION, trigger.application, sorted(filter(None, self._limits)))
        if trigger.queue not in limits.names:
            raise _unknown(QUEUE, trigger.queue, sorted(limits.names))
        return trigger

    async def _is_active(self, trigger: Trigger) -> bool:
        # The workers report what they hold every few seconds, and a new call may be in between.
        own_calls = self._limits[trigger.application][trigger.queue].calls
        return (await self._figures(trigger)).calls > 0 or own_calls > 0

    async def _figures(self, trigger: Trigger) -> QueueFigures:
        load = self._limits[trigger.application].watched(trigger.queue)
        figures = await self._queues[trigger.application].figures(trigger.queue, load)
        if figures.workers:
            slots = figures.slots / figures.workers
            self._worker_slots[trigger.application, trigger.queue] = slots
        return figures


def _unknown(key: str, value: str, known: list[str]) -> InvalidRequest:
    names = ", ".join(known) or "none"
    return InvalidRequest(
        f"no method of this gateway is routed to the {key} {value!r}; there are: {names}",
        violations=(FieldViolation(key, f"expected one of: {names}"),),
    )
