"""Large integers: factorials, and their digits, leading ones first.

Both are cut into operations that either take a few ms or release the GIL, as
gmpy2 does for its operators where `allow_release_gil` is set, but not for `fac`,
`digits` or powers. So other threads of the process go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import gmpy2
from gmpy2 import mpz

DIRECT_N = 1_000_000
"""Up to here `gmpy2.fac` is called whole: about 0.1 s."""
CHUNK_DIGITS = CHUNK_BYTES = 1 << 18
"""How much of a number a chunk holds. Fixed: boundaries depend on the number alone."""


def release_gil() -> None:
    """Lets gmpy2's operators release the GIL in the calling thread."""
    gmpy2.get_context().allow_release_gil = True


def factorial_of(n: int, step: Callable[[float], None]) -> mpz:
    """n!, exactly; `step` is told the fraction done between operations, and may raise.

    n! = C(n, h) · h! · (n - h)! with h = n // 2, down to where one call will do; C
    is from its primes (GMP's `mpz_bin_uiui`), so nearly all the time goes into the
    two products, which release the GIL.
    """
    if n <= DIRECT_N:
        return gmpy2.fac(n)
    half = n // 2
    # A number of twice the length takes a bit over twice the time.
    small = factorial_of(half, lambda fraction: step(fraction * 0.4))
    step(0.4)
    other = small * (half + 1) if n % 2 else small
    square = small * other
    step(0.6)
    binomial = gmpy2.bincoef(n, half)
    step(0.7)
    return square * binomial


def digit_count(number: mpz) -> int:
    """How many decimal digits a positive number has."""
    count: int = number.num_digits(10)  # exact, or one too many
    with gmpy2.context(precision=128):
        logarithm = gmpy2.log10(gmpy2.mpfr(number))
        if gmpy2.is_finite(logarithm) and abs(logarithm - gmpy2.rint(logarithm)) > 1e-20:
            return int(gmpy2.floor(logarithm)) + 1
    return count - 1 if number < mpz(10) ** (count - 1) else count


def decimal_chunks(number: mpz, digits: int, step: Callable[[], None]) -> Iterator[str]:
    """The digits of a positive number that has so many, the leading ones first.

    All chunks but the first have CHUNK_DIGITS digits. Divide and conquer: the number
    is split at 10^(CHUNK_DIGITS·2^k), the upper half done first (Brent and Zimmermann,
    Modern Computer Arithmetic, algorithm 1.26); `step` is called between operations,
    and may raise.
    """
    powers: list[mpz] = []
    while CHUNK_DIGITS << len(powers) < digits:
        step()
        powers.append(powers[-1] * powers[-1] if powers else mpz(10) ** CHUNK_DIGITS)
    leading = True
    for chunk in _split(number, powers, step):
        if leading and not chunk:
            continue
        yield chunk.digits() if leading else chunk.digits().zfill(CHUNK_DIGITS)
        leading = False


def _split(number: mpz, powers: list[mpz], step: Callable[[], None]) -> Iterator[mpz]:
    step()
    if not powers:
        yield number
        return
    upper, lower = divmod(number, powers[-1])
    yield from _split(upper, powers[:-1], step)
    yield from _split(lower, powers[:-1], step)


def binary_chunks(number: mpz) -> Iterator[bytes]:
    """The big-endian bytes of a positive number; all chunks but the last have CHUNK_BYTES."""
    whole = number.to_bytes(-(-number.bit_length() // 8), "big")
    for start in range(0, len(whole), CHUNK_BYTES):
        yield whole[start : start + CHUNK_BYTES]
