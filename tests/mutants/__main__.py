"""`python -m tests.mutants [PART OF A PATH ...]`: tests a sample of the mutants, or of some files'.

Fails for less than `GOAL` killed of those that are not known to be equivalent, and for an
entry of `equivalent.toml` that matches no mutant.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from tests.mutants.equivalent import LISTED, read_equivalents, stale
from tests.mutants.lua_edits import lua_edits
from tests.mutants.mutant import Mutant, mutants, sample
from tests.mutants.python_edits import python_edits
from tests.mutants.run import BrokenTestsError, Fate, runner
from tests.mutants.table import LUA, PYTHON
from tests.mutants.tree import ROOT

GOAL = 0.95


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the survivors and the score; returns 1 for a failure."""
    asked = _parser().parse_args(arguments)
    begun_at = time.monotonic()
    tests_of = {**PYTHON, **LUA}
    found = {path: _mutants_of(path) for path in tests_of}
    listed = read_equivalents(LISTED.read_text())
    obsolete = stale(listed, (mutant for of_file in found.values() for mutant in of_file))
    for entry in obsolete:
        print(f"equivalent.toml: no mutant matches\n{entry}")
    known = {entry.key for entry in listed}
    chosen = _chosen(found, asked)
    fates = Counter[tuple[str, str]]()
    fates.update((_language(mutant), "equivalent") for mutant in chosen if mutant.key in known)
    with runner(asked.jobs) as trees:
        for mutant, fate in trees.run([m for m in chosen if m.key not in known], tests_of):
            fates[_language(mutant), fate] += 1
            if fate is Fate.SURVIVED:
                print(mutant, flush=True)
    scores = [_score(fates, language) for language in ("py", "lua")]
    print(f"{time.monotonic() - begun_at:.0f} s")
    return int(bool(obsolete) or min(scores) < GOAL)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("files", nargs="*", help="only files whose path has one of these in it")
    parser.add_argument("--python", type=int, default=8, help="mutants of a module, at most")
    parser.add_argument("--lua", type=int, default=2, help="mutants of a script, at most")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another sample")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="copies of the tree")
    return parser


def _mutants_of(path: str) -> list[Mutant]:
    source = (ROOT / path).read_text()
    return mutants(path, source, (lua_edits if path.endswith(".lua") else python_edits)(source))


def _chosen(found: Mapping[str, list[Mutant]], asked: argparse.Namespace) -> list[Mutant]:
    chosen: list[Mutant] = []
    for path, of_file in found.items():
        if not asked.files or any(part in path for part in asked.files):
            most = asked.lua if path.endswith(".lua") else asked.python
            chosen += sample(of_file, most, asked.seed)
    return chosen


def _language(mutant: Mutant) -> str:
    return mutant.path.rpartition(".")[2]


def _score(fates: Mapping[tuple[str, str], int], language: str) -> float:
    """The part that tests found of those that are not known to be equivalent."""
    of = {fate: fates[language, fate] for fate in (*Fate, "equivalent")}
    tested = sum(of[fate] for fate in Fate)
    score = 1 - of[Fate.SURVIVED] / tested if tested else 1.0
    counts = ", ".join(f"{count} {fate}" for fate, count in of.items())
    print(f"{language}: {score:.1%} of {tested} killed ({counts})")
    return score


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenTestsError as error:
        sys.exit(str(error))
