"""Finished calls that the benchmark adds to a ledger equal real ones."""

from __future__ import annotations

import pytest

from bench.filling import add_copies, traces_of
from bench.finished import MODELS
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.keys import PARTITIONS, CallKey
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.attempts import emit, finish
from forebay_backends.ledger.operations.inspection import list_calls
from tests.contract.records import Record, running, sweep_all


def _finished(ledger: BlockingLedger, call: CallKey) -> Record:
    record = running(ledger, call=call)
    ledger.run(emit(call, 1, 0, b"item"))
    assert ledger.run(finish(call, 1, Event.SUCCEED, "", b"outcome")) is None
    return record


def _listed(ledger: BlockingLedger) -> list[CallKey]:
    stretches = [ledger.run(list_calls(n, None, None, 1000)) for n in range(PARTITIONS)]
    return [listed.call for stretch in stretches for listed in stretch.calls]


@pytest.mark.variant
def test_a_copy_equals_a_finished_call(ledger: BlockingLedger) -> None:
    models = {model.partition: _finished(ledger, model) for model in MODELS}
    add_copies(ledger.redis, [record.call for record in models.values()], 200)
    copies = [call for call in _listed(ledger) if call not in MODELS]
    assert len(copies) == 200
    for call in copies:
        model, copy = models[call.partition], Record(ledger, call)
        assert copy.state is State.SUCCEEDED
        assert (copy.fields, copy.items) == (model.fields, [b"item"])
        assert traces_of(ledger.redis, call) == traces_of(ledger.redis, model.call)
    for call in copies:  # reading it would register a watch, which changes the record
        assert Record(ledger, call).ending() == models[call.partition].ending()


def test_copies_count_as_finished_calls_and_expire_with_their_retention(
    ledger: BlockingLedger,
) -> None:
    for model in MODELS:
        _finished(ledger, model)
    held = sum(swept.held_bytes for swept in sweep_all(ledger))
    add_copies(ledger.redis, MODELS, 300)
    assert sum(swept.held_bytes for swept in sweep_all(ledger)) == 4 * held
    for copy in (call for call in _listed(ledger) if call not in MODELS):
        ttl_ms = ledger.redis.pttl(f"{copy.partition}:call:{copy}")
        assert 600_000 < ttl_ms <= 600_000 + 86_400_000
