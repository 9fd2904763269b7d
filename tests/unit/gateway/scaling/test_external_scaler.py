"""The scaler's answers for queues of one gateway, and its patience with backends that are down."""

from __future__ import annotations

from typing import Any, cast

import pytest

from forebay.errors import BackendUnavailable, InvalidRequest
from forebay_gateway.admission.queue_limits import QueueLimits
from forebay_gateway.admission.queue_load import QueueLoad
from forebay_gateway.scaling import external_scaler
from forebay_gateway.scaling import externalscaler_pb2 as pb
from forebay_gateway.scaling.demand import QueueFigures
from forebay_gateway.scaling.external_scaler import ExternalScaler

CONTEXT = cast(Any, None)
IDLE = QueueFigures(waiting=0, held=0, slots=4, workers=1)
BUSY = QueueFigures(waiting=8, held=4, slots=4, workers=1)


class Queues:
    """Figures that the test sets, one after the other; None: the backend is down."""

    def __init__(self, *figures: QueueFigures | None) -> None:
        self.figures_to_come = list(figures)

    async def figures(self, queue: str, load: QueueLoad) -> QueueFigures:
        found = self.figures_to_come.pop(0)
        if found is None:
            raise BackendUnavailable("it is down")
        return found


def scaler(*figures: QueueFigures | None) -> tuple[ExternalScaler, QueueLimits]:
    limits = QueueLimits(["echo"], max_depth=100)
    return ExternalScaler({"": Queues(*figures)}, {"": limits}), limits


def ref(**metadata: str) -> pb.ScaledObjectRef:
    return pb.ScaledObjectRef(scalerMetadata={"queue": "echo", "target": "2", **metadata})


async def value(found: ExternalScaler, asked: pb.ScaledObjectRef) -> float:
    request = pb.GetMetricsRequest(scaledObjectRef=asked)
    (metric,) = (await found.get_metrics(request, CONTEXT)).metricValues
    return metric.metricValueFloat


async def test_the_slots_of_workers_that_are_gone_are_remembered() -> None:
    waiting = QueueFigures(waiting=12, held=0, slots=0, workers=0)
    found, _ = scaler(waiting, BUSY, waiting)
    assert await value(found, ref()) == 2  # one worker
    assert await value(found, ref()) == 3
    assert await value(found, ref()) == 3


async def test_a_call_that_no_worker_has_reported_yet_keeps_the_queue_active() -> None:
    found, limits = scaler(IDLE, IDLE)
    with limits.counted("echo", max_batch=64):
        assert (await found.is_active(ref(), CONTEXT)).result
    assert not (await found.is_active(ref(), CONTEXT)).result


async def test_a_queue_that_is_asked_for_is_watched() -> None:
    now_s = 1000.0
    limits = QueueLimits(["echo"], max_depth=100, clock=lambda: now_s)
    found = ExternalScaler({"": Queues(IDLE)}, {"": limits})
    now_s += 3600
    assert limits.in_use() == []
    await found.is_active(ref(), CONTEXT)
    assert limits.in_use() == ["echo"]


async def test_a_stream_has_each_change_once_and_an_outage_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(external_scaler, "WATCH_INTERVAL_S", 0)
    found, _ = scaler(None, BUSY, BUSY, None, BUSY, IDLE)
    stream = found.stream_is_active(ref(), CONTEXT)
    assert [(await anext(stream)).result for _ in range(2)] == [True, False]


async def test_an_application_without_plain_tasks_is_unknown() -> None:
    found, _ = scaler(IDLE)
    with pytest.raises(InvalidRequest, match="routed to the application 'shop'; there are: none"):
        await found.is_active(ref(application="shop"), CONTEXT)
