"""The problems of a method's live workers, and when they are logged."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace

import pytest

from forebay_backends.ledger.presence import WorkerPresence
from forebay_gateway.fleet.route_warnings import SETTLED_S, RouteWarnings, route_problems
from forebay_gateway.fleet.worker_problems import ProblemKind, consumers_of
from tests.unit.samples import METHODS

ADD = METHODS["Add"]
TASK = ADD.route.task
GOOD = WorkerPresence(
    "celery@a.1f2e",
    ("add",),
    (TASK,),
    2,
    "prefork",
    "1.0",
    serves={TASK: (ADD.name, ADD.fingerprint)},
)
OTHER = replace(GOOD, worker="celery@b.9d8c", slots=3)


def problems(*workers: WorkerPresence) -> dict[ProblemKind, tuple[str, ...]]:
    return {problem.kind: problem.workers for problem in consumers_of(ADD, workers, "1.0").problems}


def serving(method: str, fingerprint: str) -> WorkerPresence:
    return replace(GOOD, serves={TASK: (method, fingerprint)})


def test_workers_that_can_run_the_method_are_counted() -> None:
    elsewhere = replace(OTHER, queues=("factorial",))
    found = consumers_of(ADD, [GOOD, OTHER, elsewhere], "1.0")
    assert (found.workers, found.slots) == (("celery@a", "celery@b"), 5)
    assert found.problems == ()


def test_a_queue_without_consumers() -> None:
    assert problems() == problems(replace(GOOD, queues=("x",))) == {ProblemKind.NO_CONSUMER: ()}


def test_a_task_that_no_consumer_of_the_queue_has() -> None:
    without = replace(GOOD, tasks=(), serves={})
    assert problems(without) == {ProblemKind.TASK_UNREGISTERED: ("celery@a",)}
    assert problems(without, replace(OTHER, queues=("x",))) == problems(without)
    assert consumers_of(ADD, [without], "1.0").slots == 0


def test_a_task_that_only_some_have() -> None:
    without = replace(OTHER, tasks=(), serves={})
    assert problems(GOOD, without) == {ProblemKind.TASK_UNREGISTERED_BY_SOME: ("celery@b",)}
    assert consumers_of(ADD, [GOOD, without], "1.0").workers == ("celery@a",)


def test_a_task_of_another_method_does_not_count() -> None:
    assert problems(serving("pkg.Other", ADD.fingerprint)) == {
        ProblemKind.TASK_UNREGISTERED: ("celery@a",)
    }


def test_a_method_of_another_streaming_kind_does_not_count() -> None:
    assert ProblemKind.TASK_UNREGISTERED in problems(serving(ADD.name, "us-" + "0" * 16))


def test_other_versions_of_the_messages_and_of_forebay_are_reported() -> None:
    assert problems(serving(ADD.name, "uu-" + "0" * 16)) == {
        ProblemKind.OTHER_MESSAGES: ("celery@a",)
    }
    assert problems(replace(GOOD, version="0.9")) == {ProblemKind.OTHER_VERSION: ("celery@a",)}


def test_a_worker_that_does_not_report_what_it_serves_is_trusted() -> None:
    assert problems(replace(GOOD, serves={})) == {}


def test_every_problem_names_workers_cause_and_fix() -> None:
    for workers in ([], [replace(GOOD, tasks=())], [replace(GOOD, version="0.9")]):
        (problem,) = consumers_of(ADD, workers, "1.0").problems
        assert problem.fix
        assert all(worker in problem.description for worker in problem.workers)


def test_methods_with_the_same_problem_share_a_line() -> None:
    twin = replace(ADD, name="pkg.S.Twin")
    (line,) = route_problems([ADD, twin], [], "1.0")
    assert line.startswith(f"{ADD.name}, pkg.S.Twin: no live worker consumes queue 'add'; to fix")


class Log:
    """The lines that are logged when problems are checked once a second."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str]] = []
        self._warnings = RouteWarnings(lambda level, line: self.lines.append((level, line)))
        self._now = 100.0

    def update(self, problems: Collection[str], seconds: float = SETTLED_S + 1) -> None:
        """Reports the same problems for `seconds`."""
        for _ in range(round(seconds)):
            self._warnings.update(self._now, problems)
            self._now += 1.0


def test_a_problem_that_lasts_is_logged_once() -> None:
    log = Log()
    log.update(["a"], SETTLED_S - 1)
    assert log.lines == []
    log.update(["a"], 60)
    assert log.lines == [(logging.WARNING, "a")]


def test_a_problem_that_passes_soon_is_not_logged() -> None:
    log = Log()
    for _ in range(5):
        log.update(["a"], SETTLED_S - 1)
        log.update([], 1)
    assert log.lines == []


def test_a_fix_is_logged_and_the_problem_may_come_back() -> None:
    log = Log()
    for now in (["a", "b"], ["b"], ["a", "b"]):
        log.update(now)
    assert log.lines == [
        (logging.WARNING, "a"),
        (logging.WARNING, "b"),
        (logging.INFO, "fixed: a"),
        (logging.WARNING, "a"),
    ]


@pytest.mark.parametrize("kind", ProblemKind)
def test_every_kind_of_problem_has_its_name_in_the_contract(kind: ProblemKind) -> None:
    from forebay.v1.calls_pb2 import MethodProblemKind

    assert MethodProblemKind.Value(f"METHOD_PROBLEM_KIND_{kind}")
