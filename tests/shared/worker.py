"""`celery -A tests.shared.worker worker -Q survival`: counting that several workers share.

A worker says in its log which parts it computes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import grpc

from forebay_workers import application
from forebay_workers.sharing.owner import helped_by, in_parts
from tests.survival.parts import part
from tests.survival.v1.survival_pb2 import DESCRIPTOR, Part, Work
from tests.survival.worker import SurvivalServicer

_FAIL_AT = "fail at "
"""A text that begins so names the part that can't be computed."""


def _compute(request: Work, context: grpc.ServicerContext) -> Callable[[int], Sequence[bytes]]:
    def compute(index: int) -> Sequence[bytes]:
        print(f"part {index} of {request.text}", flush=True)  # noqa: T201 - the log is for tests
        time.sleep(request.seconds)
        if request.text == f"{_FAIL_AT}{index}":
            raise ValueError(request.text)
        whole = part(request.text, index, request.size).SerializeToString()
        half = len(whole) // 2
        return [whole[:half], whole[half:]]

    return compute


class SharingServicer(SurvivalServicer):
    """Counts in parts."""

    @helped_by(_compute)
    def Count(self, request: Work, context: grpc.ServicerContext) -> Iterator[Part]:
        for pieces in in_parts(context, request.count, request.size, _compute(request, context)):
            yield Part.FromString(b"".join(pieces))


app = application("shared", {DESCRIPTOR.services_by_name["SurvivalService"]: SharingServicer()})
