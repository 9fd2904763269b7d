"""`python -m tests.faults.nemesis`: battle after battle, with new seeds, for SOAK_MINUTES.

NEMESIS_SEED repeats one battle. SOAK_KEEP names a folder for the members' output of battles
in which a promise was broken.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from pathlib import Path

from tests.faults.nemesis.battle import Outcome, Round, battle
from tests.faults.nemesis.cluster import OTHER_SHAPES, Cluster, Shape, cluster
from tests.faults.nemesis.report import breaches_text, calls_table, faults_table

SHAPES = (Shape(), *OTHER_SHAPES)


def main() -> int:
    """Returns how many promises were broken."""
    only = os.environ.get("NEMESIS_SEED")
    give_up = time.monotonic() + 60 * float(os.environ.get("SOAK_MINUTES", "30"))
    outcomes: list[Outcome] = []
    while not outcomes or (time.monotonic() < give_up and not only):
        seed = int(only) if only else random.randrange(10**9)  # noqa: S311 - it is printed
        outcomes.append(_fight(seed))
    print(faults_table(outcomes), calls_table(outcomes), sep="\n\n")
    calls = sum(len(outcome.calls) for outcome in outcomes)
    broken = sum(len(outcome.breaches) for outcome in outcomes)
    reruns = sum(outcome.reruns for outcome in outcomes)
    print(f"\n{len(outcomes)} battles, {calls} calls, {reruns} run again, {broken} promises broken")
    return broken


def _fight(seed: int) -> Outcome:
    shape = SHAPES[seed % len(SHAPES)]
    one = Round(seed, calls=500, faults=30, within_s=60.0, longest_s=20.0)
    begun = time.monotonic()
    with cluster(shape) as running:
        outcome = asyncio.run(battle(running, [one], settle_s=150.0))
        left_over = running.end()
        if outcome.breaches or left_over:
            print(breaches_text(outcome.breaches, [seed]), *left_over, sep="\n")
            _keep(running, seed)
    took = time.monotonic() - begun
    print(
        f"seed {seed}: {shape}: {len(outcome.calls)} calls, {len(outcome.windows)} faults, "
        f"{outcome.reruns} run again, {len(outcome.breaches)} promises broken, "
        f"peace after {outcome.peace_s:.0f} s, {took:.0f} s in all",
        flush=True,
    )
    return outcome


def _keep(running: Cluster, seed: int) -> None:
    if not os.environ.get("SOAK_KEEP"):
        return
    folder = Path(os.environ["SOAK_KEEP"]) / str(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, member in running.members.items():
        (folder / f"{name}.log").write_text(member.output)
    (folder / "work.log").write_bytes(running.work_log.read_bytes())


if __name__ == "__main__":
    sys.exit(min(main(), 1))
