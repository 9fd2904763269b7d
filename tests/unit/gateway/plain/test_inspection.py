"""What the answers to Celery's `inspect` say of the workers of an application."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from forebay.routes import read_methods
from forebay_backends.settings import CeleryApplication
from forebay_backends.urls import redis_server
from forebay_gateway.fleet.worker_problems import ProblemKind
from forebay_gateway.plain import inspection
from forebay_gateway.plain.brokers.base import PlainBroker
from forebay_gateway.plain.brokers.celery_messages import ControlMessage, Reply
from forebay_gateway.plain.inspection import PlainWorkers
from forebay_gateway.plain.task_limits import TaskLimits
from tests.plain.v1 import plain_pb2

(ADD,) = (
    method
    for method in read_methods([plain_pb2.DESCRIPTOR.services_by_name["PlainService"]])
    if method.name.endswith(".Add")
)
APPLICATION = CeleryApplication("", redis_server("redis://localhost"), "rpc://", None)
WELL: dict[str, Any] = {
    "registered": ["plain.add [rate_limit=1/m]", "plain.echo"],
    "active_queues": [{"name": "plain", "durable": True}],
    "stats": {"pool": {"max-concurrency": 3}},
    "conf": {"result_backend": "rpc://", "result_serializer": "json", "accept_content": ["json"]},
    "report": {"ok": "software -> celery:5.7\nsettings -> transport:redis results:rpc://\n\n"},
}


class Link:
    """A broker with one worker, which gives the answers; `asked` has the commands."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.workers = PlainWorkers(cast(PlainBroker, self), "replies", APPLICATION, 1 << 20)

    async def broadcast(self, control: ControlMessage) -> None:
        self.asked.append(control.method)
        if control.method in self.answers:
            body = json.dumps({"celery@a": self.answers[control.method]}).encode()
            assert self.workers.on_reply(Reply("", control.ticket, "application/json", body))


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "REPLY_WAIT_S", 0.0)


async def test_nothing_is_said_of_a_method_before_the_workers_were_asked() -> None:
    assert Link(WELL).workers.consumers_of(ADD).problems == ()


async def test_a_worker_is_what_its_answers_say() -> None:
    link = Link(WELL)
    await link.workers.inspect()
    found = link.workers.consumers_of(ADD)
    assert (found.workers, found.slots, found.problems) == (("celery@a",), 3, ())
    assert "report" not in link.asked


async def test_the_result_backend_in_effect_counts_where_the_configuration_has_another() -> None:
    for configured in (None, "redis://cache:6379/1"):
        link = Link(WELL | {"conf": {"result_backend": configured}})
        await link.workers.inspect()
        assert link.workers.consumers_of(ADD).problems == ()


async def test_a_worker_without_a_result_backend_is_reported() -> None:
    report = {"ok": "settings -> transport:redis results:disabled\n"}
    link = Link(WELL | {"conf": {"result_backend": None}, "report": report})
    await link.workers.inspect()
    kinds = [problem.kind for problem in link.workers.consumers_of(ADD).problems]
    assert kinds == [ProblemKind.OTHER_RESULT_BACKEND]


async def test_a_tasks_limits_are_those_that_its_workers_reported_last() -> None:
    link = Link(WELL)
    assert link.workers.limits_of("plain.add") == TaskLimits()
    await link.workers.inspect()
    assert link.workers.limits_of("plain.add") == TaskLimits(is_rate_limited=True)
    assert link.workers.limits_of("plain.echo") == TaskLimits()
    link.answers["registered"] = ["plain.add [time_limit=3]"]
    await link.workers.ask_for_tasks()
    assert link.workers.limits_of("plain.add") == TaskLimits(time_limit_s=3.0)


async def test_the_first_inspection_is_awaited_for_a_bounded_time() -> None:
    link = Link(WELL)
    await link.workers.had_time_to_answer()
    assert not link.workers.inspected


async def test_a_worker_that_has_not_answered_all_questions_is_not_judged() -> None:
    link = Link({"active_queues": WELL["active_queues"]})
    await link.workers.inspect()
    kinds = [problem.kind for problem in link.workers.consumers_of(ADD).problems]
    assert kinds == [ProblemKind.NO_CONSUMER]


@pytest.mark.parametrize(
    "answers",
    [
        {command: {"error": "unknown command"} for command in WELL},
        dict.fromkeys(WELL, "text"),
        WELL | {"stats": {"pool": None}, "conf": {"accept_content": 1}},
    ],
)
async def test_answers_of_another_form_break_nothing(answers: dict[str, Any]) -> None:
    link = Link(answers)
    await link.workers.inspect()
    link.workers.consumers_of(ADD)


def test_replies_to_other_questions_are_left_to_others() -> None:
    assert not Link({}).workers.on_reply(Reply("", "forebay", "application/json", b"{}"))
