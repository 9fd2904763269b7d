"""The depth of a queue, the expected wait in it, and whether it accepts a call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import BackendUnavailable, CapacityError, QueueFull, WaitExceedsDeadline
from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.ledger.presence import WorkerPresence
from forebay_gateway.admission.queue_limits import CLEARLY, QueueLimits, QueueRequest
from forebay_gateway.admission.queue_load import DrainRate, QueueLoad, Work
from forebay_gateway.admission.queue_monitor import QueueMonitor
from forebay_gateway.admission.retry_after import UNKNOWN_S
from tests.unit.samples import FakeClock

LIMIT = 1000
PRESENCE_S = 5


class Queue:
    """A queue and its workers, looked at once a second on a clock of its own."""

    def __init__(self, slots: int = 2, rate: float = 4.0, phase_s: float = 0.0) -> None:
        self.clock = FakeClock()
        self.queues = QueueLimits(["q"], LIMIT, self.clock)
        self.load: QueueLoad = self.queues["q"]
        self.slots = slots
        self.rate = rate
        self.phase_s = phase_s
        self.begun = 0.0
        self.said = 0

    def observe(self, depth: int, seconds: int = 1) -> None:
        """Samples this depth once a second for `seconds`; the workers are busy if it is not 0."""
        for _ in range(seconds):
            self.clock.now += 1
            self.begun += self.rate if depth else 0
            if (self.clock.now + self.phase_s) % PRESENCE_S < 1:
                self.said = int(self.begun)
            self.load.observe(depth, {"w": Work(self.slots, self.said)})

    def refusal(self, **asking: Any) -> CapacityError | None:
        """Why a call is refused."""
        return self.queues.refusal(QueueRequest("q", **{"caller_holds": 1, **asking}))

    def retry_after_s(self, **asking: Any) -> tuple[float, float]:
        """The shortest and the longest retry delay of many refused callers."""
        refusals = [self.refusal(**asking) for _ in range(500)]
        found = [refusal.retry_after_s or 0.0 for refusal in refusals if refusal is not None]
        assert len(found) == len(refusals)
        return min(found), max(found)


def spread_from(estimate_s: float) -> tuple[float, float]:
    """Retry delays for this estimate, which are up to a quarter longer."""
    return pytest.approx((estimate_s, 1.25 * estimate_s), rel=0.02)


def test_a_queue_that_was_not_sampled_yet_accepts_calls() -> None:
    queue = Queue()
    for _ in range(10 * LIMIT):
        queue.load.on_call_start()
    assert queue.refusal(deadline_s=0.001) is None
    queue.observe(LIMIT)
    assert queue.refusal() is not None
    queue.clock.now += 5.1  # the broker does not answer any more
    assert queue.refusal(deadline_s=0.001) is None


def test_a_full_queue_refuses_calls_and_is_named() -> None:
    queue = Queue()
    queue.observe(LIMIT - 1)
    assert queue.refusal() is None
    queue.load.on_call_start()
    refusal = queue.refusal()
    assert isinstance(refusal, QueueFull)
    assert refusal.quota == "queue q"
    assert 1 <= (refusal.retry_after_s or 0) <= 1.25  # the rate is unknown


@pytest.mark.parametrize(
    ("depth", "asking"),
    [(LIMIT, {}), (100, {"deadline_s": 1.0}), (100, {"queue_wait_s": 2.0})],
)
def test_a_caller_who_may_not_see_queues_is_refused_without_their_figures(
    depth: int, asking: dict[str, float]
) -> None:
    said = set()
    for more in (0, 37):
        queue = Queue()
        queue.observe(depth + more, 60)
        shown, hidden = queue.refusal(**asking), queue.refusal(**asking, sees_figures=lambda: False)
        assert shown is not None
        assert hidden is not None
        assert type(hidden) is type(shown)
        said.add(hidden.message)
        assert queue.retry_after_s(**asking, sees_figures=lambda: False) == spread_from(UNKNOWN_S)
        assert hidden.message != shown.message
    assert len(said) == 1


def test_a_caller_with_many_calls_reaches_the_queue_limit_before_others() -> None:
    queue = Queue()
    queue.observe(LIMIT - 10)
    assert queue.refusal(caller_holds=500) is not None
    assert queue.refusal(caller_holds=1) is None


def test_calls_since_the_last_sample_count_until_they_end() -> None:
    queue = Queue()
    with queue.queues.counted("q"), queue.queues.counted("q"):
        queue.observe(10)
        assert queue.load.waiting == 10  # both are among them
        with queue.queues.counted("q"):
            assert queue.load.waiting == 11
        assert queue.load.waiting == 10
    assert queue.load.waiting == 8


def test_calls_that_share_a_message_are_not_counted() -> None:
    queue = Queue()
    queue.observe(10)
    with queue.queues.counted("q", max_batch=64):
        assert queue.load.waiting == 10


def test_calls_that_find_a_free_slot_do_not_wait() -> None:
    queue = Queue(slots=2)
    queue.observe(0)
    for expected in (0, 0, 1):
        queue.load.on_call_start()
        assert queue.load.waiting == expected


def test_a_call_that_is_left_before_the_first_sample_is_counted() -> None:
    queue = Queue(slots=0)
    with queue.queues.counted("q", stays_after=True):
        pass
    assert queue.load.counts_calls_left


def test_a_call_that_is_left_to_its_queue_counts_until_the_depth_is_known_again() -> None:
    queue = Queue(slots=0)
    queue.observe(depth=LIMIT - 2)
    for _ in range(2):
        assert queue.refusal() is None
        with queue.queues.counted("q", stays_after=True):
            pass
    assert queue.load.waiting == LIMIT
    assert queue.load.counts_calls_left
    assert isinstance(queue.refusal(), QueueFull)
    queue.load.on_depth(LIMIT - 1)  # workers have begun one of them meanwhile
    assert not queue.load.counts_calls_left
    assert queue.refusal() is None


def test_a_call_that_failed_is_not_left_to_its_queue() -> None:
    queue = Queue(slots=0)
    queue.observe(depth=5)
    with pytest.raises(ValueError, match="refused"), queue.queues.counted("q", stays_after=True):
        raise ValueError("refused")
    assert queue.load.waiting == 5


def test_before_there_is_a_rate_no_wait_is_expected() -> None:
    queue = Queue()
    for _ in range(9):
        queue.observe(LIMIT // 2)
        assert queue.load.wait_s is None
        assert queue.refusal(deadline_s=0.001) is None


def test_a_deadline_behind_clearly_more_work_is_refused() -> None:
    queue = Queue(slots=2, rate=4.0)
    queue.observe(100, 60)
    wait_s = queue.load.wait_s or 0
    assert 18 < wait_s < 26  # really 25 s; uncertainty makes the estimate shorter
    refusal = queue.refusal(deadline_s=1.0)
    assert isinstance(refusal, WaitExceedsDeadline)
    assert wait_s - 1 <= (refusal.retry_after_s or 0) <= 1.25 * (wait_s - 1)
    assert queue.refusal(deadline_s=wait_s / CLEARLY) is None
    assert queue.refusal(deadline_s=inf) is None
    assert queue.refusal(deadline_s=1.0, priority=1) is None


def test_a_call_with_a_shorter_queue_wait_is_refused() -> None:
    queue = Queue()
    queue.observe(100, 60)
    refusal = queue.refusal(queue_wait_s=2.0)
    assert isinstance(refusal, QueueFull)
    assert refusal.quota == "queue q"


def test_callers_of_a_full_queue_retry_when_a_twentieth_of_it_is_free() -> None:
    queue = Queue(rate=10.0)
    queue.observe(LIMIT, 60)
    excess = 51  # with the refused call itself, over 950 of 1000
    assert queue.retry_after_s() == spread_from(excess / (queue.load.per_s or 0))


def test_a_caller_with_many_calls_retries_soon_where_a_twentieth_is_free() -> None:
    queue = Queue()
    queue.observe(LIMIT // 2, 60)
    assert queue.retry_after_s(caller_holds=10 * LIMIT) == spread_from(0.1)


@pytest.mark.parametrize("limit", ["deadline_s", "queue_wait_s"])
def test_a_call_is_refused_for_more_than_twice_its_time_and_retried_when_it_would_fit(
    limit: str,
) -> None:
    queue = Queue()
    queue.observe(100, 60)
    wait_s = queue.load.wait_s or 0
    assert queue.refusal(**{limit: wait_s / 2}) is None
    assert queue.refusal(**{limit: wait_s / 2 - 0.001}) is not None
    assert queue.retry_after_s(**{limit: 4.0}) == spread_from(wait_s - 4.0)


def test_an_empty_queue_refuses_no_call() -> None:
    queue = Queue()
    queue.observe(100, 60)
    queue.observe(0)
    assert queue.refusal(deadline_s=0.001) is None


def test_idle_workers_do_not_lower_the_rate() -> None:
    queue = Queue(rate=50)
    for _ in range(100):  # a call in ten seconds
        queue.observe(0, 9)
        queue.begun += 1
    queue.observe(100, 9)
    assert queue.refusal(deadline_s=0.001) is None


def test_a_rate_needs_10_s_and_5_calls() -> None:
    slow, quick = DrainRate(), DrainRate()
    for rate, per_sample, seconds in ((slow, 1, 4.0), (quick, 10, 3.0)):
        for sample in range(5):
            work = {"w": Work(1, sample * per_sample)}
            assert rate.per_slot(sample * seconds) is None
            rate.observe(sample * seconds, backlog=True, workers=work)
    assert slow.per_slot(16.0) is None, "4 calls in 16 s"
    slow.observe(20.0, backlog=True, workers={"w": Work(1, 5)})
    assert slow.per_slot(20.0) == pytest.approx(5 / 20)
    assert quick.per_slot(12.0) == pytest.approx(40 / 12)


def test_without_workers_no_wait_is_expected() -> None:
    queue = Queue()
    queue.observe(100, 60)
    queue.slots = 0
    queue.observe(100)
    assert queue.refusal(deadline_s=0.001) is None


def test_workers_that_come_count_at_once() -> None:
    queue = Queue(slots=2)
    queue.observe(100, 60)
    before = queue.load.per_s or 0
    queue.slots = 20
    queue.observe(100)
    assert (queue.load.per_s or 0) > 9 * before


def test_a_rate_is_forgotten_a_minute_after_the_backlog() -> None:
    queue = Queue()
    queue.observe(100, 60)
    queue.observe(0, 59)
    assert queue.load.per_s is not None
    queue.observe(0, 2)
    assert queue.load.per_s is None


def test_a_restarted_worker_adds_only_tasks_that_it_began() -> None:
    queue = Queue(rate=4)
    queue.observe(100, 30)
    before = queue.load.per_s or 0
    queue.begun = 0  # it was restarted under the same name
    queue.observe(100, 30)
    assert (queue.load.per_s or 0) <= before * 1.2
    queue.clock.now += 1
    queue.load.observe(100, {"w": Work(2, queue.said), "old": Work(2, 10**6)})
    assert (queue.load.per_s or 0) <= 2 * before * 1.2  # as fast each


def test_a_backlog_that_was_empty_in_between_is_measured_separately() -> None:
    queue = Queue(rate=4)
    queue.observe(100, 8)
    queue.observe(0, 2)
    queue.observe(100, 8)
    assert queue.load.per_s is None


def test_a_time_without_samples_is_not_measured() -> None:
    queue = Queue(rate=4)
    queue.observe(100, 9)
    queue.clock.now += 600
    queue.observe(100, 9)
    assert queue.load.per_s is None


@given(st.floats(0.1, 500), st.integers(1, 64), st.integers(0, 4), st.integers(10, 120))
def test_a_steady_rate_is_not_underestimated(
    rate: float, slots: int, phase_s: int, seconds: int
) -> None:
    queue = Queue(slots, rate, phase_s)
    queue.observe(10**6, seconds)
    measured = queue.load.per_s
    if measured is not None:
        assert 0.8 * rate <= measured <= 4 * rate
    if seconds >= 30 and rate >= 1:
        assert measured is not None
        assert measured <= 1.5 * rate


class FixedDepth:
    """A broker whose queues are all as deep."""

    async def depths(self, queues: Sequence[str]) -> list[int]:
        return [3 for _ in queues]


@pytest.mark.parametrize(("queue", "begun"), [("a", 5 + 100), ("b", 7 + 100)])
async def test_a_known_task_counts_for_its_queue_and_an_unknown_one_for_all(
    queue: str, begun: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {"task a": 5, "task b": 7, "of another gateway": 100}
    worker = WorkerPresence("w", ("a", "b"), tuple(both), 4, "threads", "1", both)
    elsewhere = WorkerPresence("v", ("c",), ("task a",), 4, "threads", "1", {"task a": 99})
    queues = QueueLimits(["a", "b"], LIMIT)
    queue_of_task = {"task a": "a", "task b": "b"}
    monitor = QueueMonitor(queues, FixedDepth(), lambda: (worker, elsewhere), queue_of_task)
    seen: list[tuple[int, Mapping[str, Work]]] = []
    monkeypatch.setattr(queues[queue], "observe", lambda *shown: seen.append(shown))
    await monitor.poll([queue])
    assert seen == [(3, {"w": Work(4, begun)})]


class OneForbidden:
    """A broker whose user may not look at one of its queues."""

    async def depths(self, queues: Sequence[str]) -> list[int]:
        if "forbidden" in queues:
            raise BackendUnavailable("no permission", retry_after_s=1.0)
        return [3] * len(queues)


async def test_a_queue_that_can_not_be_looked_at_does_not_hide_the_others() -> None:
    clock = FakeClock()
    queues = QueueLimits(["forbidden", "q"], LIMIT, clock)
    monitor = QueueMonitor(queues, OneForbidden(), tuple, {})
    polling = asyncio.create_task(monitor.run())
    async with asyncio.timeout(30):
        while not queues["q"].waiting:  # noqa: ASYNC110
            await asyncio.sleep(0)
    await cancel_all([polling])
    assert (queues["q"].waiting, queues["forbidden"].waiting) == (3, 0)


def test_only_queues_that_calls_asked_for_lately_are_in_use() -> None:
    queue = Queue()
    assert queue.queues.in_use() == ["q"]
    queue.clock.now += 61
    assert queue.queues.in_use() == []
    queue.refusal()
    assert queue.queues.in_use() == ["q"]


def test_a_tenant_waits_for_its_own_calls_and_not_for_those_of_others() -> None:
    queue = Queue()
    queue.observe(depth=10, seconds=60)
    for held, ahead, is_refused in ((900, 0.0, False), (900, 900.0, True)):
        request = QueueRequest("q", caller_holds=1, deadline_s=20, held=(held, ahead))
        refusal = queue.queues.refusal(request)
        assert isinstance(refusal, WaitExceedsDeadline) == is_refused, (ahead, refusal)


def test_a_tenant_is_told_to_retry_when_its_own_wait_fits() -> None:
    queue = Queue()
    queue.observe(depth=10, seconds=60)
    wait_s = (10 + 100) / (queue.load.per_s or 0)
    asked: dict[str, Any] = {"deadline_s": 4.0, "held": (100, 100.0)}
    assert queue.retry_after_s(**asked) == spread_from(wait_s - 4)


def test_calls_that_the_gateway_holds_fill_the_queue() -> None:
    queue = Queue()
    queue.observe(depth=10)
    assert queue.queues.refusal(QueueRequest("q", 1, held=(LIMIT - 100, 0.0))) is None
    refusal = queue.queues.refusal(
        QueueRequest("q", 1, held=(LIMIT, 0.0), sees_figures=lambda: False)
    )
    assert isinstance(refusal, QueueFull)
    assert str(LIMIT) not in refusal.message


@pytest.mark.parametrize("max_batch", [1, 2])
def test_a_call_counts_until_it_is_told_that_it_adds_no_work(max_batch: int) -> None:
    queue = Queue()
    queue.observe(0)
    with queue.queues.counted("q", max_batch) as uncount:
        assert (queue.load.calls, queue.load.in_flight) == (1, int(max_batch == 1))
        uncount()
        uncount()
        assert (queue.load.calls, queue.load.in_flight) == (0, 0)
    assert (queue.load.calls, queue.load.in_flight) == (0, 0)
