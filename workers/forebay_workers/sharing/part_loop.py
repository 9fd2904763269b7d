"""Computing parts for as long as there are any: the owner of a call and those who help it alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from forebay_backends.ledger.operations.parts import Piece, Taken
from forebay_workers.sharing.pacing import Pace

Compute = Callable[[int], Sequence[Piece]]
"""Computes the part of that number: its pieces, at least one, in order."""


def compute_parts(
    take: Callable[[float], Taken],
    compute: Compute,
    deliver: Callable[[int, Sequence[Piece]], None],
    wait: Callable[[bool], bool],
) -> int:
    """Takes, computes and delivers parts; how many.

    `take` is told how long others may have had a part. Where none is to be had, `wait` is asked
    whether to look again, and told whether there are more to come. What any of them
    raises ends it.
    """
    pace, count = Pace(), 0
    while True:
        taken = take(pace.patience_s)
        if taken.part is None:
            if not wait(taken.more):
                return count
            continue
        begun = time.monotonic()
        pieces = compute(taken.part)
        pace.took(time.monotonic() - begun)
        deliver(taken.part, pieces)
        count += 1
