"""Samples of errors: counts of the last hour, bounds, and the sum of processes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forebay_gateway.admin.error_samples import (
    MOST_KINDS,
    WINDOW_S,
    ErrorSamples,
    Kind,
    added,
    errors_json,
    parse_errors,
)

NOON_S = 1_767_268_800.0
KIND = Kind("acme", "shop.v1.Shop.Order", 14, "QUEUE_FULL")


def test_a_kind_counts_and_keeps_its_latest_message_and_calls() -> None:
    samples = ErrorSamples()
    for number in range(7):
        samples.add(NOON_S + number, KIND, f"message {number}", f"id-{number}")
    samples.add(NOON_S + 7, KIND, "without a record")
    errors = samples.last_hour(NOON_S + 8)[KIND]
    assert (errors.count, errors.first_s, errors.last_s) == (8, NOON_S, NOON_S + 7)
    assert errors.message == "without a record"
    assert errors.calls == ["id-6", "id-5", "id-4", "id-3", "id-2"]


def test_one_call_that_fails_again_is_named_once() -> None:
    samples = ErrorSamples()
    for call_id in ("a", "b", "a"):
        samples.add(NOON_S, KIND, "m", call_id)
    assert samples.last_hour(NOON_S)[KIND].calls == ["a", "b"]


def test_errors_are_forgotten_after_an_hour() -> None:
    samples = ErrorSamples()
    samples.add(NOON_S, KIND, "early", "a")
    samples.add(NOON_S + WINDOW_S - 60, KIND, "late", "b")
    assert samples.last_hour(NOON_S + WINDOW_S - 1)[KIND].count == 2
    assert samples.last_hour(NOON_S + WINDOW_S + 60)[KIND].count == 1
    assert samples.last_hour(NOON_S + 2 * WINDOW_S) == {}


def test_of_too_many_kinds_the_one_that_is_longest_ago_is_dropped() -> None:
    samples = ErrorSamples()
    kinds = [KIND._replace(reason=f"R{number}") for number in range(MOST_KINDS + 1)]
    for kind in kinds[:-1]:
        samples.add(NOON_S, kind, "m")
    samples.add(NOON_S + 1, kinds[0], "m")  # so another is the oldest
    samples.add(NOON_S + 2, kinds[-1], "m")
    kept = samples.last_hour(NOON_S + 3)
    assert len(kept) == MOST_KINDS
    assert set(kinds) - set(kept) == {kinds[1]}


def test_a_long_message_is_cut() -> None:
    samples = ErrorSamples()
    samples.add(NOON_S, KIND, "x" * 10_000)
    assert len(samples.last_hour(NOON_S)[KIND].message) == 512


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(0, WINDOW_S - 1),
            st.sampled_from(["A", "B"]),
            st.text(max_size=20),
        )
    )
)
def test_processes_add_up_to_what_one_would_have_counted(
    seen: list[tuple[int, int, str, str]],
) -> None:
    alone, processes = ErrorSamples(), [ErrorSamples() for _ in range(3)]
    for number, after_s, reason, message in sorted(seen, key=lambda one: one[1]):
        kind = KIND._replace(reason=reason)
        for samples in (alone, processes[number]):
            samples.add(NOON_S + after_s, kind, message, f"{after_s}")
    now_s = NOON_S + WINDOW_S - 1
    sent = (parse_errors(errors_json(one.last_hour(now_s))) for one in processes)
    together, expected = added(sent), alone.last_hour(now_s)
    assert {kind: (e.count, e.first_s, e.last_s) for kind, e in together.items()} == {
        kind: (e.count, e.first_s, e.last_s) for kind, e in expected.items()
    }
    times = [errors.last_s for errors in together.values()]
    assert times == sorted(times, reverse=True)
