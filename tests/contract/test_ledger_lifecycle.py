"""Ending a call from each state; `test_ledger_model.py` tests sequences of operations."""

from __future__ import annotations

import pytest

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.lifecycle import Event, State, next_state
from forebay_backends.ledger.operations.base import Refused
from forebay_backends.ledger.operations.calls import end
from tests.contract.records import accepted


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", [Event.SUCCEED, Event.FAIL, Event.CANCEL, Event.EXPIRE])
def test_every_end_follows_the_table(ledger: BlockingLedger, state: State, event: Event) -> None:
    record = accepted(ledger, receiving=True)
    ledger.redis.hset(f"{record.call.partition}:call:{record.call}", "state", str(state))
    successor = next_state(state, event)
    reply = ledger.run(end(record.call, event, "WHY"))
    assert reply == (None if successor else Refused(state))
    assert record.state is (successor or state)
