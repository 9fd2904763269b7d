"""Tests mutants, each in one of several copies of the tree."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from tests.mutants.mutant import Mutant
from tests.mutants.tree import Tree

T = TypeVar("T")
Tests = tuple[str, ...]

_LONGEST_S = 300.0
"""How long the tests of a module may take without a change."""


class Fate(StrEnum):
    """The result of a mutant."""

    KILLED = "killed"
    TIMED_OUT = "timed out"
    SURVIVED = "survived"


class BrokenTestsError(Exception):
    """Tests fail or take too long although nothing was changed."""


class Runner:
    """Processes with a copy of the tree each."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def run(
        self, found: Sequence[Mutant], tests_of: Mapping[str, Tests]
    ) -> Iterator[tuple[Mutant, Fate]]:
        """Yields each mutant with its fate, in the order of their ends.

        Raises BrokenTestsError if the tests do not pass on the tree as it is.
        """
        timeouts_s = self._timeout_s({tests_of[mutant.path] for mutant in found})
        futures = {}
        for mutant in found:
            tests = tests_of[mutant.path]
            futures[self._pool.submit(_fate, mutant, tests, timeouts_s[tests])] = mutant
        for future in as_completed(futures):
            yield futures[future], future.result()

    def _timeout_s(self, tests: Iterable[Tests]) -> dict[Tests, float]:
        """How long to wait for the tests of a mutant, which may make them slower or hang."""
        taken = {one: self._pool.submit(_time_s, one) for one in tests}
        return {one: 20.0 + 5.0 * future.result() for one, future in taken.items()}


@contextmanager
def runner(jobs: int) -> Iterator[Runner]:
    """Starts the processes; at the end stops them and removes their copies of the tree."""
    with tempfile.TemporaryDirectory(prefix="forebay-mutants-") as folder:
        pool = ProcessPoolExecutor(
            jobs, multiprocessing.get_context("spawn"), _make_tree, (folder,)
        )
        try:
            yield Runner(pool)
        finally:
            pool.shutdown(cancel_futures=True)


_trees: list[Tree] = []
"""The tree of this process of the pool."""


def _make_tree(folder: str) -> None:
    _trees.append(Tree(Path(tempfile.mkdtemp(dir=folder))))


def _time_s(tests: Tests) -> float:
    begun_at = time.monotonic()
    if not _trees[0].passes(tests, _LONGEST_S):
        raise BrokenTestsError(f"these tests fail without a change: {tests}\n{_trees[0].output}")
    return time.monotonic() - begun_at


def _fate(mutant: Mutant, tests: Tests, timeout_s: float) -> Fate:
    with _trees[0].mutated(mutant):
        passed = _trees[0].passes(tests, timeout_s)
    if passed is None:
        return Fate.TIMED_OUT
    return Fate.SURVIVED if passed else Fate.KILLED
