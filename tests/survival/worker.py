"""`celery -A tests.survival.worker worker -Q survival`: handlers that log when they work."""

from __future__ import annotations

import time
from collections.abc import Iterator

import grpc

from forebay.metadata import CALL_ID
from forebay_workers import application
from tests.survival.parts import gathered, part
from tests.survival.v1 import survival_pb2, survival_pb2_grpc
from tests.survival.v1.survival_pb2 import Part, Work
from tests.survival.work_log import Worklog, working


class _Stopped(Exception):
    """The call is over, so the handler's result is ignored."""


def _work(seconds: float, context: grpc.ServicerContext, log: Worklog) -> None:
    until = time.monotonic() + seconds
    while True:
        if not context.is_active():
            raise _Stopped
        log.beat()
        if time.monotonic() >= until:
            return
        time.sleep(0.02)


def _parts(request: Work, context: grpc.ServicerContext, *, varied: bool) -> Iterator[Part]:
    with working(_call_id(context)) as log:
        for index in range(request.count):
            _work(request.seconds, context, log)
            run = log.run if varied else ""
            yield part(request.text, index, request.size, run)


def _call_id(context: grpc.ServicerContext) -> str:
    return str(dict(context.invocation_metadata())[CALL_ID])


class SurvivalServicer(survival_pb2_grpc.SurvivalServiceServicer):
    """The handlers."""

    def Ask(self, request: Work, context: grpc.ServicerContext) -> Part:
        with working(_call_id(context)) as log:
            _work(request.seconds, context, log)
            return part(request.text, 0, request.size)

    Effect = Ask
    Quick = Ask

    def Count(self, request: Work, context: grpc.ServicerContext) -> Iterator[Part]:
        yield from _parts(request, context, varied=False)

    Detach = Count
    Leave = Count
    Act = Count

    def Vary(self, request: Work, context: grpc.ServicerContext) -> Iterator[Part]:
        yield from _parts(request, context, varied=True)

    def Gather(self, requests: Iterator[Work], context: grpc.ServicerContext) -> Part:
        with working(_call_id(context)) as log:
            texts, size = [], 0
            for request in requests:
                _work(request.seconds, context, log)
                texts.append(request.text)
                size = request.size
            return gathered(texts, size)

    def Answer(self, requests: Iterator[Work], context: grpc.ServicerContext) -> Iterator[Part]:
        with working(_call_id(context)) as log:
            for index, request in enumerate(requests):
                _work(request.seconds, context, log)
                yield part(request.text, index, request.size)

    Talk = Answer
    Say = Answer

    def Grind(self, request: Work, context: grpc.ServicerContext) -> Part:
        with working(_call_id(context)) as log:
            until = time.monotonic() + request.seconds
            while time.monotonic() < until:
                sum(range(10_000))
                log.beat()
            return part(request.text, 0, request.size)


SERVICE = survival_pb2.DESCRIPTOR.services_by_name["SurvivalService"]
app = application("survival", {SERVICE: SurvivalServicer()})
