"""The time of all digits of a factorial, against gmpy2 in one process, and of its first digits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from bench import callers
from bench.rounds import Figure, Goal, Series, interleave
from bench.stage import Stage
from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub

N = 1_000_000


@dataclass(frozen=True)
class Plan:
    """The number of repetitions."""

    rounds: int


FULL = Plan(rounds=7)
QUICK = Plan(rounds=1)


@dataclass(frozen=True)
class Timing:
    """The times of the first and the last digits, in seconds from the call."""

    first_s: float
    whole_s: float


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """Compares the time of all digits with gmpy2's, and with the time of the first digits."""
    text, _ = timed_digits(stage.stub, N)
    assert text == callers.factorial_text_here(N)
    timings = interleave(
        plan.rounds, {"ours": lambda: timed_digits(stage.stub, N)[1], "theirs": _timed_here}
    )
    title = f"Factorial of {N:,}"
    whole = tuple(timing.whole_s for timing in timings["ours"])
    yield Figure(
        "factorial_whole",
        title,
        "s",
        Series("all digits", whole),
        Series("gmpy2 in one process", tuple(timing.whole_s for timing in timings["theirs"])),
        Goal(1.0),
        row=19,
    )
    yield Figure(
        "factorial_first_digits",
        title,
        "s",
        Series("the first digits", tuple(timing.first_s for timing in timings["ours"])),
        Series("all of them", whole),
        Goal(0.6),
        row=20,
    )


def timed_digits(stub: ComputeServiceStub, n: int) -> tuple[str, Timing]:
    """The digits of n!, and the times at which the first and the last ones came."""
    begun = time.perf_counter()
    responses = stub.Factorial(pb.FactorialRequest(n=n), timeout=callers.TIMEOUT_S)
    digits = (response.digits for response in responses if response.digits)
    first = next(digits)
    first_s = time.perf_counter() - begun
    text = "".join(chain((first,), digits))
    return text, Timing(first_s, time.perf_counter() - begun)


def _timed_here() -> Timing:
    """The time in this process; both times are equal, since gmpy2 returns all digits at once."""
    seconds = callers.seconds_of(lambda: callers.factorial_text_here(N))
    return Timing(seconds, seconds)
