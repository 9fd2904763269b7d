"""Generates the faults of a battle from a seed. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class Harm(StrEnum):
    """The kind of a fault."""

    KILL = "kill"  # SIGKILL to its main process; it is started again
    KILL_ALL = "kill with children"
    KILL_CHILD = "kill a pool child"
    STOP = "stop"  # SIGSTOP to all its processes, SIGCONT later
    STOP_CHILD = "stop a pool child"
    RESTART = "restart"  # SIGTERM; it is started again
    CUT = "cut off"  # its connections to Redis break, new ones are refused
    SILENCE = "silence"  # its connections to Redis stay, and nothing passes


GATEWAY_HARMS = {Harm.KILL: 3, Harm.STOP: 2, Harm.RESTART: 2, Harm.CUT: 2, Harm.SILENCE: 1}
WORKER_HARMS = {
    Harm.KILL: 2,
    Harm.KILL_ALL: 3,
    Harm.KILL_CHILD: 3,
    Harm.STOP: 2,
    Harm.STOP_CHILD: 1,
    Harm.RESTART: 2,
    Harm.CUT: 2,
    Harm.SILENCE: 1,
}
REDIS_HARMS = {Harm.KILL: 2, Harm.STOP: 1}
RABBITMQ_HARMS = {Harm.KILL: 1, Harm.RESTART: 1, Harm.STOP: 1}


@dataclass(frozen=True)
class Fault:
    """One fault: its time, member, kind and duration (a killed member stays down that long)."""

    at_s: float
    member: str
    harm: Harm
    length_s: float


def harms_of(member: str) -> dict[Harm, int]:
    """The kinds of faults of a member, with their weights."""
    kind = member.rpartition("-")[0] or member
    return {
        "gateway": GATEWAY_HARMS,
        "worker": WORKER_HARMS,
        "redis": REDIS_HARMS,
        "rabbitmq": RABBITMQ_HARMS,
    }[kind]


def schedule(
    seed: int, members: dict[str, float], count: int, within_s: float, longest_s: float
) -> list[Fault]:
    """So many faults, none to a member that another one still holds.

    `members` says how often each is chosen, in comparison.
    """
    chance = random.Random(f"schedule {seed}")  # noqa: S311 - to be repeated, not to be secret
    held_until = dict.fromkeys(members, 0.0)
    faults = []
    for at_s in sorted(chance.uniform(0, within_s) for _ in range(count)):
        free = {name: weight for name, weight in members.items() if held_until[name] <= at_s}
        if not free:
            continue
        member = chance.choices(list(free), list(free.values()))[0]
        harms = harms_of(member)
        harm = chance.choices(list(harms), list(harms.values()))[0]
        length_s = _length_s(chance, harm, longest_s)
        held_until[member] = at_s + length_s + 1
        faults.append(Fault(at_s, member, harm, length_s))
    return faults


def _length_s(chance: random.Random, harm: Harm, longest_s: float) -> float:
    if harm in (Harm.KILL, Harm.KILL_ALL, Harm.RESTART):
        return chance.choice((0.1, 0.1, min(2.0, longest_s)))
    if harm is Harm.KILL_CHILD:
        return 0.1
    # Some end before they are detected, some last longer than a lease.
    return min(longest_s, chance.choice((0.5, 1.0, 3.0, 6.0, 20.0)))
