"""Sharing a limit between callers."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay_gateway.admission.fair_share import TIMES, FairShare, fits

CALLERS = "abcde"
sizes = st.integers(1, 50)


@given(st.integers(1, 1000), st.lists(st.tuples(st.sampled_from(CALLERS), sizes), max_size=100))
def test_the_limit_is_never_passed(limit: int, asked: list[tuple[str, int]]) -> None:
    shares = FairShare(limit)
    for caller, amount in asked:
        fits_now, before = shares.fits(caller, amount), shares.held_by(caller)
        assert shares.take(caller, amount) == fits_now
        assert shares.held_by(caller) == before + (amount if fits_now else 0)
    assert shares.held == sum(shares.held_by(caller) for caller in CALLERS) <= limit


@given(st.integers(1, 100_000))
def test_a_single_caller_gets_all_but_the_reserve(limit: int) -> None:
    shares = FairShare(limit)
    shares.add("a", max(1, TIMES * limit // (TIMES + 1)) - 1)
    assert shares.fits("a", 1)
    shares.add("a", 1)
    assert not shares.fits("a", 1)
    assert limit == 1 or shares.fits("b", 1)


@given(st.integers(0, 500), st.integers(1, 50), st.integers(0, 1000))
def test_a_caller_that_holds_nothing_gets_free_units(held: int, amount: int, free: int) -> None:
    assert fits(0, amount, free) == (amount <= free)
    assert fits(0, amount, free) or not fits(held, amount, free)


@given(
    st.integers(1, 300),
    st.lists(st.tuples(st.sampled_from(CALLERS), sizes), max_size=60),
    st.sampled_from(CALLERS),
    sizes,
)
def test_the_excess_is_the_part_that_must_be_released(
    limit: int, holdings: list[tuple[str, int]], caller: str, amount: int
) -> None:
    shares = FairShare(limit)
    for holder, size in holdings:
        shares.add(holder, size)
    part = shares.excess(caller, amount)
    assert 0 <= part <= 1
    if shares.fits(caller, amount):
        assert part == 0
    own = shares.held_by(caller)
    if own and amount <= limit - (shares.held - own):
        shares.add(caller, -min(own, ceil(own * part + 1e-6)))
        assert shares.fits(caller, amount)


def test_the_excess_is_a_part_of_what_the_caller_holds_or_else_of_all() -> None:
    shares = FairShare(10)
    shares.add("a", 10)
    assert shares.excess("a", 9) == 1.0
    assert shares.excess("a", 1) == pytest.approx(1 - (8 * 9 - 1) / 9 / 10)
    assert shares.excess("new", 1) == 1 / 10
    assert shares.excess("new", 20) == 1.0


def test_a_caller_that_holds_nothing_uses_no_memory() -> None:
    shares = FairShare(10)
    shares.add("a", 3)
    shares.add("a", -3)
    assert shares._by_caller == {}
