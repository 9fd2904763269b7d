"""Formats the result of a battle. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.faults.nemesis.battle import Outcome
from tests.faults.nemesis.checker import Breach

_MOST_SHOWN = 40


def breaches_text(breaches: Sequence[Breach], seeds: Sequence[int]) -> str:
    """The breaches, and how to repeat the battle."""
    lines = [f"{breach.promise}: call {breach.call or '-'}: {breach.what}" for breach in breaches]
    more = len(lines) - _MOST_SHOWN
    again = f"NEMESIS_SEED={','.join(map(str, seeds))} repeats it"
    return "\n".join([*lines[:_MOST_SHOWN], *([f"and {more} more"] if more > 0 else []), again])


def faults_table(outcomes: Sequence[Outcome]) -> str:
    """A row for each kind of fault: how often it was done."""
    done = Counter(
        (window.member.partition("-")[0], window.harm) for o in outcomes for window in o.windows
    )
    rows = [f"| {member} | {harm} | {count} |" for (member, harm), count in sorted(done.items())]
    return "\n".join(["| whom | what | how often |", "| --- | --- | --- |", *rows])


def calls_table(outcomes: Sequence[Outcome]) -> str:
    """A row for each kind of call: how many, and how they ended."""
    ends: dict[str, Counter[str]] = {}
    for call in (call for outcome in outcomes for call in outcome.calls):
        ends.setdefault(str(call.plan.kind), Counter())[_ending(call)] += 1
    names = sorted({name for counter in ends.values() for name in counter})
    head = f"| method | calls | {' | '.join(names)} |"
    rows = [
        f"| {kind} | {sum(counter.values())} | {' | '.join(str(counter[n]) for n in names)} |"
        for kind, counter in sorted(ends.items())
    ]
    return "\n".join([head, f"|{' --- |' * (len(names) + 2)}", *rows])


def _ending(call) -> str:  # type: ignore[no-untyped-def]
    if call.record is not None:
        return str(call.record.reason or call.record.state)
    codes = [attach.code for attach in call.attaches]
    return "without a record: " + (codes[-1] if codes and codes[-1] else "given up")
