"""Activity of the last hour: growth of counters, several processes, steps, quantiles."""

from __future__ import annotations

from array import array

import pytest
from prometheus_client import CollectorRegistry, Histogram

from forebay_backends.metrics.instruments import DURATION_BUCKETS
from forebay_gateway.admin.activity import (
    SLOT_S,
    WINDOW_S,
    Activity,
    Calls,
    QueueState,
    Slot,
    intervals,
    quantile_s,
)
from forebay_gateway.admin.activity_messages import (
    BOUNDS,
    counted_calls,
    interval_message,
    parse_slots,
    slots_json,
)

ADD, SLOW = "some.Service.Add", "some.Service.Slow"
QUEUE = QueueState("add", 3, 1.5, 4, 2)


def calls(ended: int, failed: int = 0, bucket: int = 3) -> Calls:
    """Calls that all took the same time."""
    buckets = array("Q", [0] * len(BOUNDS))
    buckets[bucket] = ended
    return Calls(ended, failed, buckets)


def ended(slots: list[Slot]) -> list[dict[str, int]]:
    return [{method: one.ended for method, one in slot.methods.items()} for slot in slots]


def test_a_sample_has_what_the_counters_grew_by() -> None:
    activity = Activity()
    activity.add(1000, {ADD: calls(10)}, ())
    activity.add(1005, {ADD: calls(12), SLOW: calls(1)}, (QUEUE,))
    activity.add(1010, {ADD: calls(12), SLOW: calls(1)}, ())
    assert [slot.number for slot in activity.slots] == [200, 201, 202]
    assert ended(list(activity.slots)) == [{ADD: 10}, {ADD: 2, SLOW: 1}, {}]
    assert activity.slots[1].queues == (QUEUE,)


def test_samples_are_kept_for_an_hour() -> None:
    activity = Activity()
    for number in range(2 * WINDOW_S // SLOT_S):
        activity.add(number * SLOT_S, {ADD: calls(number)}, ())
    assert len(activity.slots) == WINDOW_S // SLOT_S


def test_steps_add_up_slots_and_processes() -> None:
    one = [Slot(number, {ADD: calls(1)}) for number in range(97, 101)]
    other = [Slot(100, {ADD: calls(10), SLOW: calls(5)}), Slot(101, {ADD: calls(100)})]
    found = intervals([*one, *other], 100, 20, 10)
    assert [slot.number for slot in found] == [98, 100]
    assert ended(found) == [{ADD: 2}, {ADD: 12, SLOW: 5}]
    [whole] = intervals(one, 100, WINDOW_S, WINDOW_S)
    assert whole.methods[ADD].ended == 4


def test_a_step_has_the_latest_queues() -> None:
    later = QueueState("add", 9, None, 4, 4)
    slots = [Slot(98, queues=(QUEUE,)), Slot(99, queues=(later,)), Slot(100)]
    [step] = intervals(slots, 100, 15, 15)
    assert step.queues == (later,)


def test_slots_pass_between_processes() -> None:
    slots = [Slot(7, {ADD: calls(3, 1), SLOW: calls(1)}), Slot(8)]
    assert parse_slots(slots_json(slots)) == slots[:1]


@pytest.mark.parametrize(
    ("share", "seconds"), [(0.5, 0.0025), (0.25, 0.00175), (0.99, 600.0), (1.0, 600.0)]
)
def test_quantiles_are_interpolated_within_a_bucket(share: float, seconds: float) -> None:
    some = calls(5, bucket=2) + calls(5, bucket=len(BOUNDS) - 1)  # to 2.5 ms, and over 10 min
    assert quantile_s(some, BOUNDS, share) == pytest.approx(seconds)


def test_there_is_no_quantile_of_no_calls() -> None:
    assert quantile_s(Calls.none(len(BOUNDS)), BOUNDS, 0.5) is None


def test_calls_are_read_from_the_metric_without_the_gateways_own_services() -> None:
    labels = ("rpc_method", "rpc_response_status_code")
    seconds = Histogram(
        "rpc_server_call_duration_seconds",
        "",
        labels,
        registry=CollectorRegistry(),
        buckets=DURATION_BUCKETS,
    )
    for method, code, taken_s in (
        ("some.Service/Add", "OK", 0.002),
        ("some.Service/Add", "OK", 0.002),
        ("some.Service/Add", "INTERNAL", 0.02),
        ("some.Service/Add", "INVALID_ARGUMENT", 1000.0),
        ("other", "UNIMPLEMENTED", 0.0001),
        ("forebay.v1.CallService/ListQueues", "OK", 0.1),
    ):
        seconds.labels(method, code).observe(taken_s)
    counted = counted_calls(seconds.collect(), {ADD})
    assert set(counted) == {ADD, "other"}
    assert (counted[ADD].ended, counted[ADD].failed) == (4, 1)
    assert [number for number, count in enumerate(counted[ADD].buckets) if count] == [2, 5, 19]
    assert (counted["other"].ended, counted["other"].failed) == (1, 1)


def test_an_interval_has_totals_and_its_times() -> None:
    slot = Slot(200, {ADD: calls(3, 1), SLOW: calls(1)}, (QUEUE,))
    message = interval_message(slot, 10)
    assert (message.start_time.seconds, message.end_time.seconds) == (995, 1005)
    assert (message.total.ended, message.total.failed) == (4, 1)
    assert [one.method for one in message.methods] == [ADD, SLOW]
    assert message.queues[0].oldest_wait.ToMilliseconds() == 1500
