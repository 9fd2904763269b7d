"""Random faults hit all processes while calls of all kinds run; nothing is lost."""

from __future__ import annotations

import asyncio
import os
import random

import pytest

from tests.faults.nemesis.battle import Round, battle
from tests.faults.nemesis.cluster import OTHER_SHAPES, Shape, cluster
from tests.faults.nemesis.report import breaches_text

FIXED_SEED = 20_261_122
SHAPES = [
    Shape(),
    *(pytest.param(other, marks=pytest.mark.variant) for other in OTHER_SHAPES),
]


def seeds() -> list[int]:
    """The seeds of this run: a fixed and a random one, or those of NEMESIS_SEED."""
    given = os.environ.get("NEMESIS_SEED")
    if given:
        return [int(seed) for seed in given.split(",")]
    return [FIXED_SEED, random.randrange(10**9)]  # noqa: S311 - it is printed


@pytest.mark.timeout(240)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_fault_loses_a_call(shape: Shape) -> None:
    chosen = seeds()
    with cluster(shape) as running:
        rounds = [Round(seed, calls=70, faults=6, within_s=6.0, longest_s=2.0) for seed in chosen]
        outcome = asyncio.run(battle(running, rounds, settle_s=60.0))
        left_over = running.end()
    assert not outcome.breaches, breaches_text(outcome.breaches, chosen)
    assert not left_over, breaches_text([], chosen) + f"\n{left_over}"
