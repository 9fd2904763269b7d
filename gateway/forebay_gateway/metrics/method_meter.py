"""The counters and histograms of one method.

Its counters are plain numbers, which are read at a scrape: a gateway counts in one thread, and an
instrument's lock would take 0.3 µs of each count.
"""

from __future__ import annotations

from collections import Counter

from forebay.v1 import errors_pb2
from forebay_backends.metrics.instruments import OTHER
from forebay_backends.metrics.registry import Figures, Metrics

OK, DISCONNECTED = "OK", "DISCONNECTED"
_NAMES = errors_pb2.ErrorReason.DESCRIPTOR.values_by_name
_REASONS = {OK, DISCONNECTED, *(name.removeprefix("ERROR_REASON_") for name in _NAMES)}


def known_reason(reason: str) -> str:
    """The reason as a label: `OK`, `DISCONNECTED`, one of Forebay's, or `other`."""
    return reason if reason in _REASONS else OTHER


class MethodMeter:
    """One per method of a gateway; `method` is its full name."""

    def __init__(self, metrics: Metrics, method: str) -> None:
        self._method = method
        self.in_flight = 0
        """Calls that were accepted and have not ended."""
        self._accepted = 0
        self._ended: Counter[str] = Counter({OK: 0})
        self._refused: Counter[str] = Counter()
        self._cached: Counter[str] = Counter()
        self._lasting = self._lasting_bytes = 0
        self._transient = self._transient_bytes = 0
        self.queue_wait = metrics.histogram("forebay_queue_wait_seconds").labels(method).observe
        self.run = metrics.histogram("forebay_run_seconds").labels(method).observe
        self.first_item = metrics.histogram("forebay_first_item_seconds").labels(method).observe
        self.batch_size = metrics.histogram("forebay_batch_size").labels(method).observe
        metrics.read_figures.append(self._figures)

    def accepted(self) -> None:
        self.in_flight += 1
        self._accepted += 1

    def ended(self, reason: str) -> str:
        """Returns the label that it counted; `reason` is `OK`, `DISCONNECTED` or an error's.

        A handler's own reason counts as `other`.
        """
        self.in_flight -= 1
        label = known_reason(reason)
        self._ended[label] += 1
        return label

    def refused(self, reason: str) -> None:
        self._refused[known_reason(reason)] += 1

    def cached(self, kind: str) -> None:
        """`kind` is `new`, `running` or `finished`, as in `forebay-cache`."""
        self._cached[kind] += 1

    def lasting(self, size: int) -> None:
        """Counts an item of `size` bytes that goes to a caller."""
        self._lasting += 1
        self._lasting_bytes += size

    def transient(self, size: int) -> None:
        """Counts an item that the ledger does not keep."""
        self._transient += 1
        self._transient_bytes += size

    def _figures(self) -> Figures:
        method = self._method
        lasting, transient = (method, "lasting"), (method, "transient")
        return {
            "forebay_calls": {(method, "IN_FLIGHT"): self.in_flight},
            "forebay_calls_accepted_total": {(method,): self._accepted},
            "forebay_calls_ended_total": {
                (method, reason): count for reason, count in self._ended.items()
            },
            "forebay_refused_total": {
                (method, reason): count for reason, count in self._refused.items()
            },
            "forebay_cache_calls_total": {
                (method, kind): count for kind, count in self._cached.items()
            },
            "forebay_items_total": {lasting: self._lasting, transient: self._transient},
            "forebay_item_bytes_total": {
                lasting: self._lasting_bytes,
                transient: self._transient_bytes,
            },
        }
