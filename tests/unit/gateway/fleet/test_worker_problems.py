"""What live workers mean for a method, and what is said of it."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace

import pytest

from forebay_backends.ledger.presence import WorkerPresence
from forebay_gateway.fleet.route_warnings import SETTLED_S, RouteWarnings, route_warnings
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


def troubles(*workers: WorkerPresence) -> dict[ProblemKind, tuple[str, ...]]:
    return {
        problem.trouble: problem.workers for problem in consumers_of(ADD, workers, "1.0").problems
    }


def serving(method: str, fingerprint: str) -> WorkerPresence:
    return replace(GOOD, serves={TASK: (method, fingerprint)})


def test_workers_that_fit_are_counted_and_nothing_is_wrong() -> None:
    elsewhere = replace(OTHER, queues=("factorial",))
    found = consumers_of(ADD, [GOOD, OTHER, elsewhere], "1.0")
    assert (found.workers, found.slots) == (("celery@a", "celery@b"), 5)
    assert found.problems == ()


def test_a_queue_that_nobody_consumes() -> None:
    assert troubles() == troubles(replace(GOOD, queues=("x",))) == {ProblemKind.NO_CONSUMER: ()}


def test_a_task_that_nobody_who_consumes_the_queue_has() -> None:
    without = replace(GOOD, tasks=(), serves={})
    assert troubles(without) == {ProblemKind.TASK_UNREGISTERED: ("celery@a",)}
    assert troubles(without, replace(OTHER, queues=("x",))) == troubles(without)
    assert consumers_of(ADD, [without], "1.0").slots == 0


def test_a_task_that_only_some_have() -> None:
    without = replace(OTHER, tasks=(), serves={})
    assert troubles(GOOD, without) == {ProblemKind.TASK_UNREGISTERED_BY_SOME: ("celery@b",)}
    assert consumers_of(ADD, [GOOD, without], "1.0").workers == ("celery@a",)


def test_a_task_of_another_method_is_none_of_this_one() -> None:
    assert troubles(serving("pkg.Other", ADD.fingerprint)) == {
        ProblemKind.TASK_UNREGISTERED: ("celery@a",)
    }


def test_a_method_that_streams_otherwise_can_not_be_run() -> None:
    assert ProblemKind.TASK_UNREGISTERED in troubles(serving(ADD.name, "us-" + "0" * 16))


def test_other_versions_of_the_messages_and_of_forebay_are_told() -> None:
    assert troubles(serving(ADD.name, "uu-" + "0" * 16)) == {
        ProblemKind.OTHER_MESSAGES: ("celery@a",)
    }
    assert troubles(replace(GOOD, version="0.9")) == {ProblemKind.OTHER_VERSION: ("celery@a",)}


def test_a_worker_that_does_not_say_what_it_serves_is_believed() -> None:
    assert troubles(replace(GOOD, serves={})) == {}


def test_every_problem_says_who_what_and_how_to_mend_it() -> None:
    for workers in ([], [replace(GOOD, tasks=())], [replace(GOOD, version="0.9")]):
        (problem,) = consumers_of(ADD, workers, "1.0").problems
        assert problem.fix
        assert all(worker in problem.description for worker in problem.workers)


def test_methods_with_the_same_trouble_share_a_line() -> None:
    twin = replace(ADD, name="pkg.S.Twin")
    (line,) = route_warnings([ADD, twin], [], "1.0")
    assert line.startswith(f"{ADD.name}, pkg.S.Twin: no live worker consumes queue 'add'; to mend")


class Log:
    """What was said, as `route_warnings` are heard once a second."""

    def __init__(self) -> None:
        self.said: list[tuple[int, str]] = []
        self._complaints = RouteWarnings(lambda level, line: self.said.append((level, line)))
        self._now = 100.0

    def hear(self, route_warnings: Collection[str], seconds: float = SETTLED_S + 1) -> None:
        """The same, for so long."""
        for _ in range(round(seconds)):
            self._complaints.hear(self._now, route_warnings)
            self._now += 1.0


def test_what_is_wrong_for_a_while_is_said_once() -> None:
    log = Log()
    log.hear(["a"], SETTLED_S - 1)
    assert log.said == []
    log.hear(["a"], 60)
    assert log.said == [(logging.WARNING, "a")]


def test_what_passes_soon_is_not_said() -> None:
    log = Log()
    for _ in range(5):
        log.hear(["a"], SETTLED_S - 1)
        log.hear([], 1)
    assert log.said == []


def test_what_was_said_is_said_to_be_mended_and_may_come_again() -> None:
    log = Log()
    for now in (["a", "b"], ["b"], ["a", "b"]):
        log.hear(now)
    assert log.said == [
        (logging.WARNING, "a"),
        (logging.WARNING, "b"),
        (logging.INFO, "mended: a"),
        (logging.WARNING, "a"),
    ]


@pytest.mark.parametrize("trouble", ProblemKind)
def test_every_trouble_has_its_name_in_the_contract(trouble: ProblemKind) -> None:
    from forebay.v1.calls_pb2 import MethodProblemKind

    assert MethodProblemKind.Value(f"METHOD_PROBLEM_KIND_{trouble}")
