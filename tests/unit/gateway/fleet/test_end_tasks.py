"""The tasks of `on_end`, and the workers that have them."""

from __future__ import annotations

from dataclasses import dataclass

from forebay.routes import OnEnd
from forebay_gateway.fleet.end_tasks import EndTask, end_tasks, without_worker
from tests.unit.samples import METHODS, method

ENDED = OnEnd("shop.ended", "ends")
TASK = EndTask(ENDED, ("m",))


@dataclass(frozen=True)
class Worker:
    """Queues and tasks of a worker."""

    queues: tuple[str, ...]
    tasks: tuple[str, ...]


def test_methods_with_the_same_task_share_one_line() -> None:
    methods = [
        method("Factorial", on_end=ENDED),
        METHODS["MatMul"],
        method("Add", on_end=ENDED, ephemeral=False),
    ]
    assert [one.on_end for one in end_tasks(methods)] == [ENDED]
    (task,) = end_tasks(methods)
    assert [name.rpartition(".")[2] for name in task.methods] == ["Factorial", "Add"]
    assert end_tasks([METHODS["Add"]]) == []


def test_a_worker_must_have_the_task_and_consume_its_queue() -> None:
    for workers in (
        [],
        [Worker(("ends",), ("shop.other",))],
        [Worker(("shop",), ("shop.ended",))],
        [Worker(("shop",), ("shop.ended",)), Worker(("ends",), ())],
    ):
        assert without_worker([TASK], workers) == [TASK]
    assert without_worker([TASK], [Worker(("a", "ends"), ("x", "shop.ended"))]) == []


def test_the_problem_names_task_and_queue_and_the_fix_says_what_to_start() -> None:
    assert "'shop.ended'" in TASK.problem
    assert "queue 'ends'" in TASK.problem
    assert "start a worker of queue 'ends'" in TASK.fix
