"""What keeps the workers of an existing application from running a plain task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from forebay.routes import read_methods
from forebay_backends.settings import CeleryApplication
from forebay_backends.urls import redis_server
from forebay_gateway.fleet.plain_workers import PlainWorker, plain_consumers_of
from forebay_gateway.fleet.worker_problems import Problem, ProblemKind
from tests.plain.v1 import plain_pb2

ADD = next(
    method
    for method in read_methods([plain_pb2.DESCRIPTOR.services_by_name["PlainService"]])
    if method.name.endswith(".Add")
)
APPLICATION = CeleryApplication("", redis_server("redis://localhost"), "rpc://", None)
GOOD = PlainWorker("celery@a", ("plain", "mail"), ("plain.add", "celery.chord"), 4, "rpc://")


def problems(*workers: PlainWorker) -> Sequence[Problem]:
    return plain_consumers_of(ADD, workers, APPLICATION).problems


def test_slots_are_those_of_workers_with_queue_and_task() -> None:
    elsewhere = replace(GOOD, worker="celery@b", queues=("mail",))
    found = plain_consumers_of(ADD, [GOOD, elsewhere], APPLICATION)
    assert (found.workers, found.slots, found.problems) == (("celery@a",), 4, ())
    assert not found.is_broken


def test_a_queue_that_no_worker_consumes_is_reported_with_those_that_are() -> None:
    (problem,) = problems(replace(GOOD, queues=("plian",)))
    assert problem.kind is ProblemKind.NO_CONSUMER
    assert "consumes queue 'plain' (live workers consume 'plian')" in problem.description
    (problem,) = problems()
    assert problem.description.endswith("consumes queue 'plain'")


@pytest.mark.parametrize(
    ("registered", "said"),
    [
        (("shop.add", "plain.sub"), " (did you mean 'shop.add'?)"),
        (("plain.ad", "z"), " (did you mean 'plain.ad'?)"),
        (("b", "a", "d", "c", "e"), " (registered are 'a', 'b', 'c' and 2 more)"),
        (("celery.chord",), " (they have no tasks of their own)"),
    ],
)
def test_a_task_that_no_worker_registers_is_reported_with_similar_ones(
    registered: tuple[str, ...], said: str
) -> None:
    (problem,) = problems(replace(GOOD, tasks=registered))
    assert problem.kind is ProblemKind.TASK_UNREGISTERED
    assert problem.workers == ("celery@a",)
    assert problem.description.startswith(
        "celery@a consumes queue 'plain' without task 'plain.add'"
    )
    assert problem.description.endswith(said)


def test_a_task_that_some_workers_lack_is_reported_with_those() -> None:
    (problem,) = problems(GOOD, replace(GOOD, worker="celery@b", tasks=()))
    assert (problem.kind, problem.workers) == (
        ProblemKind.TASK_UNREGISTERED_BY_SOME,
        ("celery@b",),
    )


def test_results_that_are_kept_elsewhere_are_reported() -> None:
    (problem,) = problems(replace(GOOD, result_backend="redis://:***@localhost:6379/1"))
    assert problem.kind is ProblemKind.OTHER_RESULT_BACKEND
    assert "keeps results in redis://***@localhost:6379/1" in problem.description
    assert "set FOREBAY_RESULT_URL to" in problem.fix


def test_an_application_without_results_is_reported() -> None:
    (problem,) = problems(replace(GOOD, result_backend="disabled"))
    assert problem.kind is ProblemKind.OTHER_RESULT_BACKEND
    assert "set result_backend in the application" in problem.fix


def test_another_name_of_a_host_does_not_count_as_broken() -> None:
    worker = replace(GOOD, result_backend="redis://cache:6379/1")
    application = replace(APPLICATION, result_url="redis://10.0.0.5:6379/1")
    found = plain_consumers_of(ADD, [worker], application)
    assert [problem.kind for problem in found.problems] == [ProblemKind.UNSURE_RESULT_BACKEND]
    assert not found.is_broken


@pytest.mark.parametrize(
    "unfit", [{"accept_content": ("pickle", "yaml")}, {"result_serializer": "pickle"}]
)
def test_an_application_without_json_is_reported(unfit: dict[str, object]) -> None:
    (problem,) = problems(replace(GOOD, **unfit))  # type: ignore[arg-type]
    assert problem.kind is ProblemKind.NOT_JSON
