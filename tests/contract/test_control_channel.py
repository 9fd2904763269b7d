"""Stops that reach a process which runs handlers, over a real pub/sub connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.frames import Stop, stop_frame
from forebay_backends.ledger.keys import control_channel
from forebay_backends.ledger.lifecycle import State
from forebay_workers.handler.control_channel import ControlChannel
from tests.harness import eventually
from tests.unit.samples import CALL, context

WORKER = "test-worker"


@pytest.fixture
def process(ledger: BlockingLedger, ledger_url: str) -> Iterator[ControlChannel]:
    """The channel of a process, which listens."""
    with closing(ControlChannel(ledger_url, ledger, WORKER, None, 1.0)) as channel:
        eventually(lambda: stop(ledger, "nobody") > 0, "it listens")
        yield channel


def stop(ledger: BlockingLedger, key: str) -> int:
    """Stops the call as a gateway does; returns how many processes it reached."""
    frame = stop_frame(key, 1, Stop(State.CANCELLED))
    return ledger.publish(control_channel(WORKER), frame)


@pytest.mark.parametrize("first_has_ended", [False, True])
def test_a_stop_reaches_all_runs_of_an_ephemeral_call(
    process: ControlChannel, ledger: BlockingLedger, first_has_ended: bool
) -> None:
    """Its gateway sends a call again whose worker seems lost, perhaps to the same process."""
    first, second = context(), context()
    with ExitStack() as runs:
        first_run = runs.enter_context(ExitStack())
        first_run.enter_context(process.running(first, durable=False))
        runs.enter_context(process.running(second, durable=False))
        if first_has_ended:
            first_run.close()
        stop(ledger, str(CALL))
        eventually(lambda: second.stopped is not None, "the second run is stopped", 10.0)
    assert (first.stopped is None) == first_has_ended
