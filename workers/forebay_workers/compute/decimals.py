"""Converts a large number to decimal digits, leading digits first, on several threads.

Theory of operation. `divmod` splits a number at 10^(LEAF_DIGITS·2^k), and its parts in the
same way, down to leaves that GMP converts (Brent and Zimmermann, Modern Computer
Arithmetic, algorithm 1.26). Any thread can split or convert any part, because gmpy2's
operators release the GIL. Each thread takes the leftmost part that is free. So the leading
digits come first, and memory never holds more than the number and a few chunks of text.

A number is split at the largest of these powers below the number, not in the middle: GMP
multiplies fastest near powers of two (0.30 s instead of 0.40 s for the splits above the
chunks of 1,000,000!), and the first split, which can't run in parallel with others, is short.
The powers depend only on the number's length, so they can be computed before the number is known.

GMP converts a leaf while it holds the GIL, for 0.2 ms. Only a number of one chunk, which GMP
converts whole, holds it for longer: 15 ms at most.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from heapq import heappop, heappush

import gmpy2
from gmpy2 import mpz

LEAF_DIGITS = 1 << 14
"""Digits that GMP converts at a time. A smaller leaf isn't faster; a larger one holds the GIL."""
CHUNK_LEVEL = 4
CHUNK_DIGITS = LEAF_DIGITS << CHUNK_LEVEL
"""Digits in a chunk. Fixed, so that boundaries depend only on the number."""
_MAX_AHEAD = 8  # chunks begun before the first of them is taken
_STEP_INTERVAL_S = 0.1

Step = Callable[[], None]
"""Called between operations; may raise to end them."""


def release_gil() -> None:
    """Makes gmpy2's operators release the GIL in the calling thread."""
    gmpy2.get_context().allow_release_gil = True


def digit_count(number: mpz) -> int:
    """Returns the number of decimal digits of a positive number."""
    count: int = number.num_digits(10)  # GMP: exact, or one too many
    with gmpy2.context(precision=128):
        logarithm = gmpy2.log10(gmpy2.mpfr(number))
        if gmpy2.is_finite(logarithm) and abs(logarithm - gmpy2.rint(logarithm)) > 1e-20:
            return int(gmpy2.floor(logarithm)) + 1
    return count - 1 if number < mpz(10) ** (count - 1) else count


class DecimalWriter:
    """Converts numbers to decimal on `threads` threads."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._powers = _PowersOfTen()

    def expect(self, digits: int) -> None:
        """Starts to compute the powers of ten for a number of about `digits` digits."""
        if digits > CHUNK_DIGITS:
            _in_thread(lambda: self._powers[((digits - 1) // LEAF_DIGITS).bit_length() - 1])

    def chunks(self, number: mpz, digits: int, step: Step) -> Iterator[str]:
        """Yields the digits of a positive number with `digits` of them, leading ones first.

        All chunks but the first have CHUNK_DIGITS digits. Closing the iterator ends the
        threads, each after its current operation.
        """
        if digits <= CHUNK_DIGITS:
            yield number.digits()
            return
        splitting = _Splitting(number, -(-digits // CHUNK_DIGITS), self._powers)
        for _ in range(self._threads):
            _in_thread(splitting.work)
        try:
            yield splitting.take(step).lstrip("0")
            while splitting.taken < splitting.chunks:
                yield splitting.take(step)
        finally:
            splitting.end()


def _in_thread(run: Callable[[], object]) -> None:
    def releasing_gil() -> None:
        release_gil()
        run()

    # A daemon thread, so that the process does not wait for it at exit.
    threading.Thread(target=releasing_gil, name="forebay-decimals", daemon=True).start()


class _PowersOfTen:
    """10^(LEAF_DIGITS·2^k) for k = 0, 1, …, each computed once. Thread-safe."""

    def __init__(self) -> None:
        self._powers: list[mpz] = []
        self._growing = threading.Lock()

    def __getitem__(self, level: int) -> mpz:
        with self._growing:
            while len(self._powers) <= level:
                last = self._powers[-1] if self._powers else None
                self._powers.append(last * last if last else mpz(10) ** LEAF_DIGITS)
            return self._powers[level]


def _text(number: mpz, level: int, powers: _PowersOfTen) -> str:
    """Returns the LEAF_DIGITS·2^level digits of a number, with leading zeros."""
    if not level:
        return str(number.digits()).zfill(LEAF_DIGITS)
    upper, lower = divmod(number, powers[level - 1])
    return _text(upper, level - 1, powers) + _text(lower, level - 1, powers)


class _Splitting:
    """The parts of a number that are still to be split or converted. Thread-safe."""

    def __init__(self, number: mpz, chunks: int, powers: _PowersOfTen) -> None:
        self.chunks = chunks
        self.taken = 0
        self._powers = powers
        self._parts = [(0, chunks, number)]  # a heap: first chunk, chunks, the part
        self._unbegun = chunks
        self._written: dict[int, str] = {}
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def work(self) -> None:
        """Splits and converts parts until all chunks are begun, or `end` is called."""
        try:
            while (part := self._leftmost()) is not None:
                self._advance(*part)
        except BaseException as error:  # `take` raises it again
            self.end(error)

    def take(self, step: Step) -> str:
        """Waits for the next chunk and returns it."""
        while True:
            step()
            with self._changed:
                self._changed.wait_for(self._may_take, _STEP_INTERVAL_S)
                if self._error is not None:
                    raise self._error
                if self.taken in self._written:
                    self.taken += 1
                    self._changed.notify_all()
                    return self._written.pop(self.taken - 1)

    def end(self, error: BaseException | None = None) -> None:
        """Ends the work; `take` raises the error, if one is given."""
        with self._changed:
            self._error = error
            self._unbegun = 0
            self._changed.notify_all()

    def _may_take(self) -> bool:
        return self.taken in self._written or self._error is not None

    def _may_begin(self) -> bool:
        return bool(self._parts) and self._parts[0][0] < self.taken + _MAX_AHEAD

    def _leftmost(self) -> tuple[int, int, mpz] | None:
        with self._changed:
            self._changed.wait_for(lambda: not self._unbegun or self._may_begin())
            if not self._unbegun:
                return None
            part = heappop(self._parts)
            self._unbegun -= part[1] == 1
            return part

    def _advance(self, first: int, chunks: int, number: mpz) -> None:
        if chunks == 1:
            text = _text(number, CHUNK_LEVEL, self._powers)
            with self._changed:
                self._written[first] = text
                self._changed.notify_all()
            return
        level = (chunks - 1).bit_length() - 1
        upper, lower = divmod(number, self._powers[CHUNK_LEVEL + level])
        middle = first + chunks - (1 << level)
        with self._changed:
            heappush(self._parts, (first, middle - first, upper))
            heappush(self._parts, (middle, 1 << level, lower))
            self._changed.notify_all()
