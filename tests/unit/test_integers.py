"""Large integers: exact to the last digit, in chunks whose boundaries never move."""

from __future__ import annotations

import math

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import given
from hypothesis import strategies as st

from forebay_workers.compute import integers
from forebay_workers.compute.integers import (
    CHUNK_BYTES,
    CHUNK_DIGITS,
    binary_chunks,
    decimal_chunks,
    digit_count,
    factorial_of,
    release_gil,
)

TEN = mpz(10)


class _Stop(Exception):
    """Raised by a step, as an abandoned computation does."""


def _decimals(number: mpz) -> list[str]:
    return list(decimal_chunks(number, digit_count(number), lambda: None))


@pytest.mark.parametrize("n", [0, 1, 2, 20, 21, 170, 1000, 20_000])
def test_a_factorial_is_exact(n: int) -> None:
    assert factorial_of(n, lambda fraction: None) == math.factorial(n)


@pytest.mark.parametrize("direct_n", [1, 2, 7])
def test_a_factorial_put_together_from_halves_is_exact(
    monkeypatch: pytest.MonkeyPatch, direct_n: int
) -> None:
    monkeypatch.setattr(integers, "DIRECT_N", direct_n)
    for n in [*range(70), 1000, 1001, 4095]:
        assert factorial_of(n, lambda fraction: None) == math.factorial(n)


def test_progress_of_a_factorial_only_grows_and_stays_below_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(integers, "DIRECT_N", 10)
    fractions: list[float] = []
    factorial_of(1000, fractions.append)
    assert len(fractions) > 10
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] <= fractions[-1] < 1


def test_a_step_may_stop_a_factorial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integers, "DIRECT_N", 10)

    def step(fraction: float) -> None:
        raise _Stop

    with pytest.raises(_Stop):
        factorial_of(1000, step)


@pytest.mark.parametrize("exponent", [0, 1, 2, 15, 16, 18, 19, 20, 300, 308, 309, 5000, 100_000])
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_digits_are_counted_right_around_powers_of_ten(exponent: int, offset: int) -> None:
    number = TEN**exponent + offset
    if number > 0:
        assert digit_count(number) == len(number.digits())


@given(st.integers(1, 10**80))
def test_digits_are_counted_as_they_are_written(number: int) -> None:
    assert digit_count(mpz(number)) == len(str(number))


@given(st.integers(1, 10**60), st.integers(1, 9))
def test_chunks_of_any_size_join_to_the_number(number: int, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(integers, "CHUNK_DIGITS", size)
        chunks = _decimals(mpz(number))
    assert "".join(chunks) == str(number)
    assert {len(chunk) for chunk in chunks[1:]} <= {size}
    assert 1 <= len(chunks[0]) <= size


@pytest.mark.parametrize("chunks", [1, 2, 3, 5])
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_decimal_chunks_are_whole_around_their_boundaries(chunks: int, offset: int) -> None:
    number = TEN ** (CHUNK_DIGITS * chunks) + offset
    found = _decimals(number)
    digits = CHUNK_DIGITS * chunks + (offset >= 0)
    assert sum(map(len, found)) == digits
    assert [len(chunk) for chunk in found[1:]] == [CHUNK_DIGITS] * (-(-digits // CHUNK_DIGITS) - 1)
    assert mpz("".join(found)) == number


def test_the_leading_digits_come_before_the_others_are_computed() -> None:
    steps: list[None] = []
    number = TEN ** (CHUNK_DIGITS * 8) - 1
    chunks = decimal_chunks(number, digit_count(number), lambda: steps.append(None))
    next(chunks)
    until_first = len(steps)
    assert len(list(chunks)) == 7
    assert len(steps) > until_first


def test_a_step_may_stop_the_digits() -> None:
    def step() -> None:
        raise _Stop

    with pytest.raises(_Stop):
        next(decimal_chunks(TEN ** (CHUNK_DIGITS * 2), CHUNK_DIGITS * 2 + 1, step))


@given(st.integers(1, 2**200), st.integers(1, 9))
def test_binary_chunks_of_any_size_join_to_the_number(number: int, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(integers, "CHUNK_BYTES", size)
        chunks = list(binary_chunks(mpz(number)))
    assert b"".join(chunks) == number.to_bytes(-(-number.bit_length() // 8), "big")
    assert {len(chunk) for chunk in chunks[:-1]} <= {size}
    assert 1 <= len(chunks[-1]) <= size


@pytest.mark.parametrize("chunks", [1, 2])
def test_binary_chunks_are_whole_around_their_boundaries(chunks: int) -> None:
    bound = mpz(1) << (8 * CHUNK_BYTES * chunks)
    assert [len(chunk) for chunk in binary_chunks(bound - 1)] == [CHUNK_BYTES] * chunks
    assert [len(chunk) for chunk in binary_chunks(bound)] == [*[CHUNK_BYTES] * chunks, 1]


def test_the_sizes_of_chunks_are_part_of_the_promise_that_attempts_agree() -> None:
    assert (CHUNK_DIGITS, CHUNK_BYTES) == (262_144, 262_144)


def test_operators_release_the_gil_where_that_was_asked_for() -> None:
    with gmpy2.context():
        release_gil()
        assert gmpy2.get_context().allow_release_gil
