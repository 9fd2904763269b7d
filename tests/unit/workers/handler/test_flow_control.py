"""Flow control: when a handler that yields must wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay_backends.ledger.operations.attempts import Flow
from forebay_workers.handler.flow_control import FlowControl

WINDOW, LIMIT = 100, 1000
_SIZES = st.lists(st.integers(0, 300), max_size=30)


def _sent(*sizes: int, window: int = WINDOW, limit: int = LIMIT) -> FlowControl:
    flow = FlowControl(window, limit)
    for size in sizes:
        flow.sent(size)
    return flow


@given(_SIZES)
def test_it_never_blocks_once_all_is_read_and_trimmed(sizes: list[int]) -> None:
    flow = _sent(*sizes)
    flow.on_credit(len(sizes))
    trimmable = flow.trimmable()
    if trimmable is not None:
        flow.trimmed(trimmable[1])
    assert not flow.blocked


@given(_SIZES, st.integers(0, 30))
def test_with_a_watcher_it_blocks_exactly_past_the_window(sizes: list[int], read: int) -> None:
    flow = _sent(*sizes, limit=1 << 20)
    flow.on_flow(Flow(read_count=read, watchers=1))
    assert flow.blocked == (sum(sizes[read:]) > WINDOW)


@given(_SIZES, st.integers(0, 30))
def test_without_a_watcher_it_blocks_exactly_past_the_limit(sizes: list[int], read: int) -> None:
    flow = _sent(*sizes)
    flow.on_flow(Flow(read_count=read, watchers=0))
    assert flow.blocked == (sum(sizes) > LIMIT)


@given(_SIZES, st.lists(st.integers(0, 40), max_size=10))
def test_the_highest_credit_counts_in_any_order(sizes: list[int], credits_: list[int]) -> None:
    flow = _sent(*sizes, limit=1 << 20)
    for read_count in credits_:
        flow.on_credit(read_count)
    furthest = max(credits_, default=0)
    assert flow.blocked == (sum(sizes[furthest:]) > WINDOW)


@given(_SIZES, st.integers(0, 30))
def test_only_read_items_are_trimmed_and_only_over_the_limit(sizes: list[int], read: int) -> None:
    flow = _sent(*sizes)
    flow.on_credit(read)
    trimmable = flow.trimmable()
    if trimmable is None:
        return
    assert sum(sizes) > LIMIT
    count, size = trimmable
    assert 0 < count <= min(read, len(sizes))
    assert size == sum(sizes[:count])
    if read < len(sizes):
        assert sum(sizes[count:read]) >= min(WINDOW, LIMIT // 4), "callers may lag behind that"


@given(_SIZES, st.integers(0, 30))
def test_a_blocked_handler_waits_until_a_large_part_is_read(sizes: list[int], read: int) -> None:
    flow = _sent(*sizes, window=1 << 20)
    flow.on_credit(read)
    trimmable = flow.trimmable()
    if trimmable is not None:
        flow.trimmed(trimmable[1])
    assert flow.trimmable() is None
    # Gateways send credit when they have read half of their window.
    assert not flow.blocked or sum(sizes[read:]) > LIMIT // 2 - max(sizes)


def test_a_second_trim_counts_from_the_first_item_and_byte() -> None:
    flow = _sent(*[400] * 4)
    flow.on_credit(4)
    assert flow.trimmable() == (3, 1200), "400 read bytes stay, more than the window"
    flow.trimmed(1200)
    for _ in range(3):
        flow.sent(400)
    flow.on_credit(7)
    assert flow.trimmable() == (6, 2400)


def test_empty_items_alone_are_not_trimmed() -> None:
    flow = _sent(0, 250, 151, 300, 300, window=1 << 20)
    flow.on_credit(2)
    assert flow.trimmable() is None
    flow.on_credit(4)
    assert flow.trimmable() == (3, 401)


def test_a_handler_counts_as_watched_until_the_ledger_reports_otherwise() -> None:
    assert _sent(WINDOW + 1).blocked


@pytest.mark.parametrize(("size", "blocked"), [(WINDOW, False), (WINDOW + 1, True)])
def test_the_window_may_be_filled_to_the_byte(size: int, blocked: bool) -> None:
    assert _sent(size).blocked is blocked


def test_a_watcher_that_returns_limits_the_handler_to_the_window_again() -> None:
    flow = _sent(WINDOW + 1)
    blocked = []
    for watchers in (0, 1, 0, 2):
        flow.on_flow(Flow(read_count=0, watchers=watchers))
        blocked.append(flow.blocked)
    assert blocked == [False, True, False, True]


@pytest.mark.parametrize(("size", "trimmable"), [(LIMIT, None), (LIMIT + 1, (1, LIMIT + 1))])
def test_the_ledger_may_be_filled_to_the_byte(size: int, trimmable: tuple[int, int] | None) -> None:
    flow = _sent(size)
    flow.on_flow(Flow(read_count=1, watchers=1))
    assert flow.trimmable() == trimmable
    assert flow.blocked is (trimmable is not None)


def test_an_item_over_every_limit_blocks_until_it_is_read_and_trimmed() -> None:
    size = 10 * LIMIT
    flow = _sent(10, size)
    blocked = [flow.blocked]
    flow.on_credit(2)
    blocked.append(flow.blocked)
    assert flow.trimmable() == (2, 10 + size), "nothing less would make room"
    flow.trimmed(10 + size)
    blocked.append(flow.blocked)
    assert blocked == [True, True, False]


def test_a_second_attempt_does_not_block_on_items_read_before() -> None:
    flow = FlowControl(WINDOW, LIMIT)
    for _ in range(5):
        flow.sent(WINDOW)
        flow.on_flow(Flow(read_count=5, watchers=1))
        assert not flow.blocked
    flow.sent(WINDOW + 1)
    flow.on_flow(Flow(read_count=5, watchers=1))
    assert flow.blocked


def test_credit_that_arrives_before_its_item_counts() -> None:
    flow = FlowControl(WINDOW, LIMIT)
    flow.on_credit(1)
    flow.sent(WINDOW + 1)
    assert not flow.blocked
