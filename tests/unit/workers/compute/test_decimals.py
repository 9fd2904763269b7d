"""Decimal digits: exact, in chunks with fixed boundaries."""

from __future__ import annotations

import threading

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import given
from hypothesis import strategies as st

from forebay_workers.compute import decimals
from forebay_workers.compute.decimals import (
    CHUNK_DIGITS,
    DecimalWriter,
    digit_count,
    release_gil,
)

TEN = mpz(10)
TIMEOUT_S = 30.0


class _Stop(BaseException):
    """Raised by a step, as an abandoned computation does."""


def _go_on() -> None:
    pass


def _decimals(number: mpz, threads: int = 2) -> list[str]:
    return list(DecimalWriter(threads).chunks(number, digit_count(number), _go_on))


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leaf is one digit, a chunk two; one chunk is begun ahead."""
    monkeypatch.setattr(decimals, "LEAF_DIGITS", 1)
    monkeypatch.setattr(decimals, "CHUNK_LEVEL", 1)
    monkeypatch.setattr(decimals, "CHUNK_DIGITS", 2)
    monkeypatch.setattr(decimals, "_MAX_AHEAD", 1)


def _threads() -> list[threading.Thread]:
    return [found for found in threading.enumerate() if found.name == "forebay-decimals"]


def _join() -> None:
    for thread in _threads():
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()


@pytest.mark.parametrize("exponent", [0, 1, 2, 15, 16, 18, 19, 20, 300, 308, 309, 5000, 100_000])
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_digit_counts_are_right_around_powers_of_ten(exponent: int, offset: int) -> None:
    number = TEN**exponent + offset
    if number > 0:
        assert digit_count(number) == len(number.digits())


@given(st.integers(1, 10**80))
def test_the_digit_count_is_the_length_of_the_text(number: int) -> None:
    assert digit_count(mpz(number)) == len(str(number))


@given(st.integers(1, 10**60), st.integers(1, 5), st.integers(0, 2), st.integers(1, 3))
def test_chunks_of_any_size_join_to_the_number_on_any_number_of_threads(
    number: int, leaf: int, level: int, threads: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decimals, "LEAF_DIGITS", leaf)
        patch.setattr(decimals, "CHUNK_LEVEL", level)
        patch.setattr(decimals, "CHUNK_DIGITS", leaf << level)
        chunks = _decimals(mpz(number), threads)
    assert "".join(chunks) == str(number)
    assert {len(chunk) for chunk in chunks[1:]} <= {leaf << level}
    assert 1 <= len(chunks[0]) <= leaf << level


@given(st.integers(2, 10**6), st.integers(1, 90_000), st.integers(-1, 1))
def test_numbers_of_many_leaves_have_the_digits_that_gmp_gives(
    base: int, exponent: int, offset: int
) -> None:
    number = mpz(base) ** exponent + offset
    assert "".join(_decimals(number)) == number.digits()


@pytest.mark.parametrize("chunks", [1, 2, 3, 5])
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_decimal_chunks_are_correct_around_their_boundaries(chunks: int, offset: int) -> None:
    number = TEN ** (CHUNK_DIGITS * chunks) + offset
    found = _decimals(number)
    digits = CHUNK_DIGITS * chunks + (offset >= 0)
    assert sum(map(len, found)) == digits
    assert [len(chunk) for chunk in found[1:]] == [CHUNK_DIGITS] * (-(-digits // CHUNK_DIGITS) - 1)
    assert mpz("".join(found)) == number


@pytest.mark.parametrize("expected", [1, CHUNK_DIGITS, CHUNK_DIGITS * 3, CHUNK_DIGITS * 9])
def test_expected_digits_do_not_change_the_result(expected: int) -> None:
    number = TEN ** (CHUNK_DIGITS * 3) - 1
    writer = DecimalWriter(2)
    writer.expect(expected)
    chunks = list(writer.chunks(number, CHUNK_DIGITS * 3, _go_on))
    assert chunks == ["9" * CHUNK_DIGITS] * 3


def test_small_numbers_need_no_thread() -> None:
    _join()
    writer = DecimalWriter(2)
    writer.expect(CHUNK_DIGITS)
    assert list(writer.chunks(mpz(12), 2, _go_on)) == ["12"]
    assert not _threads()


@pytest.mark.usefixtures("_tiny")
def test_the_leading_digits_come_before_the_others_are_computed() -> None:
    levels: list[int] = []

    class Powers(decimals._PowersOfTen):
        def __getitem__(self, level: int) -> mpz:
            levels.append(level)
            return super().__getitem__(level)

    splitting = decimals._Splitting(TEN**512 - 1, 256, Powers())
    worker = threading.Thread(target=splitting.work)
    worker.start()
    assert splitting.take(_go_on) == "99"
    splitting.end()
    worker.join(TIMEOUT_S)
    # Down to the first chunk, and at most the one after it.
    assert 8 <= len(levels) <= 12
    assert levels[:8] == [8, 7, 6, 5, 4, 3, 2, 1]


@pytest.mark.usefixtures("_tiny")
def test_only_a_few_chunks_are_converted_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decimals, "_MAX_AHEAD", 5)
    splitting = decimals._Splitting(TEN**200 - 1, 100, decimals._PowersOfTen())
    workers = [threading.Thread(target=splitting.work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for _ in range(95):
        with splitting._changed:
            assert splitting._changed.wait_for(lambda: len(splitting._written) >= 5, TIMEOUT_S)
            assert len(splitting._written) == 5
        splitting.take(_go_on)
    splitting.end()
    for worker in workers:
        worker.join(TIMEOUT_S)
        assert not worker.is_alive()


def test_a_step_that_raises_ends_the_threads() -> None:
    def step() -> None:
        raise _Stop

    with pytest.raises(_Stop):
        next(DecimalWriter(2).chunks(TEN ** (CHUNK_DIGITS * 2), CHUNK_DIGITS * 2 + 1, step))
    _join()


@pytest.mark.usefixtures("_tiny")
def test_threads_end_when_the_iterator_is_closed() -> None:
    chunks = DecimalWriter(3).chunks(TEN**999, 1000, _go_on)
    assert next(chunks) == "10"
    assert _threads()
    chunks.close()
    _join()


@pytest.mark.usefixtures("_tiny")
@pytest.mark.parametrize("error", [None, MemoryError("too large")])
def test_no_part_is_begun_after_the_end(error: BaseException | None) -> None:
    splitting = decimals._Splitting(TEN**200, 101, decimals._PowersOfTen())
    assert splitting._may_begin()
    splitting.end(error)
    assert splitting._leftmost() is None
    splitting.work()  # returns at once


@pytest.mark.usefixtures("_tiny")
def test_an_error_in_a_thread_is_raised_by_the_iterator() -> None:
    class NoPowers(decimals._PowersOfTen):
        def __getitem__(self, level: int) -> mpz:
            raise MemoryError("too large")

    splitting = decimals._Splitting(TEN**200, 101, NoPowers())
    worker = threading.Thread(target=splitting.work)
    worker.start()
    with pytest.raises(MemoryError, match="too large"):
        splitting.take(_go_on)
    worker.join(TIMEOUT_S)
    assert not worker.is_alive()


def test_the_size_of_chunks_is_pinned_so_that_attempts_agree() -> None:
    assert CHUNK_DIGITS == 262_144


def test_operators_release_the_gil_after_release_gil() -> None:
    with gmpy2.context():
        release_gil()
        assert gmpy2.get_context().allow_release_gil
