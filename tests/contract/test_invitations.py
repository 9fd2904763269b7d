"""Inviting other workers of a queue, on every pair of backends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from celery import Celery

from forebay_backends.broker.dispatcher import Dispatcher, dispatcher
from forebay_backends.broker.task_messages import call_message
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.urls import Backends, celery_settings
from forebay_workers.sharing.helper import TASK, invite
from tests.contract.systems import backends_of, take_messages

QUEUE = "invitations"


@pytest.fixture
def servers(deserted: dict[str, str]) -> Backends:
    return backends_of(deserted)


@pytest.fixture
async def calls(servers: Backends) -> AsyncIterator[Dispatcher]:
    ledger = Ledger(servers.ledger_url)
    way = dispatcher(servers, ledger)
    yield way
    await way.close()
    await ledger.close()


async def test_an_invitation_holds_names_only_expires_and_comes_after_calls(
    servers: Backends, calls: Dispatcher
) -> None:
    app = Celery("inviting")
    app.conf.update(celery_settings(servers))
    await calls.send(call_message(CallKey("first"), 1, task="t", queue=QUEUE, priority=0))
    invite(app, servers, QUEUE, CallKey("big"), 2, 2)
    await calls.send(call_message(CallKey("urgent"), 1, task="t", queue=QUEUE, priority=4))
    messages = take_messages(servers, QUEUE)
    assert [message.headers["task"] for message in messages] == ["t", "t", TASK, TASK]
    for message in messages[2:]:
        positional, by_name, _ = json.loads(message.body)
        assert (positional, by_name) == ([], {"call": "/big", "attempt": 2})
        assert message.headers["expires"] is not None
    app.close()
