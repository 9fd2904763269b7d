"""Factorials: exact, in chunks with fixed boundaries."""

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
    DIRECT_N,
    binary_chunks,
    factorial_digits,
    factorial_of,
)


class _Stop(Exception):
    """Raised by a step, as an abandoned computation does."""


@pytest.mark.parametrize("n", [0, 1, 2, 20, 21, 170, 1000, 20_000])
def test_a_factorial_is_exact(n: int) -> None:
    assert factorial_of(n, lambda fraction: None) == math.factorial(n)


@pytest.mark.parametrize("n", [DIRECT_N, DIRECT_N + 1, 2 * DIRECT_N + 1, 300_001])
def test_a_large_factorial_is_what_gmp_computes(n: int) -> None:
    assert factorial_of(n, lambda fraction: None) == gmpy2.fac(n)


@pytest.mark.parametrize("direct_n", [1, 2, 7])
def test_a_factorial_computed_by_recursion_is_exact(
    monkeypatch: pytest.MonkeyPatch, direct_n: int
) -> None:
    monkeypatch.setattr(integers, "DIRECT_N", direct_n)
    for n in [*range(70), 1000, 1001, 4095]:
        assert factorial_of(n, lambda fraction: None) == math.factorial(n)


def test_progress_of_a_factorial_only_grows_and_stays_below_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(integers, "DIRECT_N", 1)
    fractions: list[float] = []
    factorial_of(1000, fractions.append)
    assert len(fractions) == 9
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < fractions[-1] < 1


def test_a_step_that_raises_ends_a_factorial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integers, "DIRECT_N", 10)

    def step(fraction: float) -> None:
        raise _Stop

    with pytest.raises(_Stop):
        factorial_of(1000, step)


@pytest.mark.parametrize("n", [*range(50), 1000, 20_000, 20_001])
def test_the_estimated_digit_count_is_within_one(n: int) -> None:
    assert abs(factorial_digits(n) - len(gmpy2.fac(n).digits())) <= 1


@given(st.integers(1, 2**200), st.integers(1, 9))
def test_binary_chunks_of_any_size_join_to_the_number(number: int, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(integers, "CHUNK_BYTES", size)
        chunks = list(binary_chunks(mpz(number)))
    assert b"".join(chunks) == number.to_bytes(-(-number.bit_length() // 8), "big")
    assert {len(chunk) for chunk in chunks[:-1]} <= {size}
    assert 1 <= len(chunks[-1]) <= size


@pytest.mark.parametrize("chunks", [1, 2])
def test_binary_chunks_are_correct_around_their_boundaries(chunks: int) -> None:
    bound = mpz(1) << (8 * CHUNK_BYTES * chunks)
    assert [len(chunk) for chunk in binary_chunks(bound - 1)] == [CHUNK_BYTES] * chunks
    assert [len(chunk) for chunk in binary_chunks(bound)] == [*[CHUNK_BYTES] * chunks, 1]


def test_the_size_of_chunks_is_pinned_so_that_attempts_agree() -> None:
    assert CHUNK_BYTES == 262_144
