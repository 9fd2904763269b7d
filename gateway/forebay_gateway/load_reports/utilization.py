"""Measures how busy this gateway is, so that clients can balance by it. Pure, except for its
clocks.

A client's weight for a server is its calls per second divided by its utilization: the calls that
it would serve at full use. So the utilization is that of the scarcest resource:

- CPU: the gateway's event loop can use one core;
- calls in flight, of `max_calls`;
- bytes held, of `max_held_bytes`.

Errors count where another gateway might have served the call: those lower the weight.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc

from forebay_gateway.admission.admission import Admission
from forebay_gateway.admission.rate_window import RateWindow
from forebay_gateway.load_reports.orca_pb2 import LoadReport

LEAST = 0.01
"""An idle gateway's utilization; 0 would count as unknown."""
REPORT_HOLDS_S = 0.25
_WINDOW_S = 5.0
_ERRORS = frozenset(
    {
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
    }
)


class Utilization:
    """One per gateway process."""

    def __init__(
        self,
        admission: Admission,
        clock: Callable[[], float] = time.monotonic,
        cpu_s: Callable[[], float] = time.process_time,
    ) -> None:
        self._admission = admission
        self._clock = clock
        self._cpu_s = cpu_s
        self._calls = 0
        self._errors = 0
        self._cpu_then_s = cpu_s()
        now_s = clock()
        self._windows = [RateWindow(_WINDOW_S) for _ in range(3)]
        for window in self._windows:
            window.start(now_s)
        self._made_at_s = now_s
        self._report = self._made((0.0, 0.0, 0.0))

    def on_call_end(self, code: grpc.StatusCode) -> None:
        """Counts a call that ends with the status."""
        self._calls += 1
        self._errors += code in _ERRORS

    def report(self) -> bytes:
        """The latest report, at most a quarter of a second old."""
        now_s = self._clock()
        if now_s - self._made_at_s >= REPORT_HOLDS_S:
            self._made_at_s = now_s
            self._report = self._made(self._rates(now_s))
        return self._report

    def _rates(self, now_s: float) -> tuple[float, float, float]:
        """Calls, errors and CPU seconds, per second."""
        cpu_s = self._cpu_s()
        events = (self._calls, self._errors, cpu_s - self._cpu_then_s)
        self._calls, self._errors, self._cpu_then_s = 0, 0, cpu_s
        for window, number in zip(self._windows, events, strict=True):
            window.add(now_s, number)
        calls, errors, cpu = (window.per_s() or 0.0 for window in self._windows)
        return calls, errors, cpu

    def _made(self, rates: tuple[float, float, float]) -> bytes:
        calls, errors, cpu = rates
        shares = {
            "calls": self._admission.calls.used,
            "held_bytes": self._admission.bytes.used,
        }
        return LoadReport(
            cpu_utilization=cpu,
            utilization=shares,
            rps_fractional=calls,
            eps=errors,
            application_utilization=max(cpu, *shares.values(), LEAST),
        ).SerializeToString()
