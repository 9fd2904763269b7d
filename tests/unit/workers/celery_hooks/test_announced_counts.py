"""What a worker announces of the messages that it holds is JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from forebay_backends.ledger.presence import WorkerPresence
from forebay_workers.celery_hooks import request


def test_held_messages_are_counted_by_queue_and_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [SimpleNamespace(delivery_info={"routing_key": queue}) for queue in ("a", "b", "a")]
    monkeypatch.setattr(request, "reserved_calls", lambda: messages)
    held = request.held_messages()
    assert held == {"a": 2, "b": 1}
    presence = WorkerPresence("one@host", ("a", "b"), (), 2, "threads", "0.1.0", held=held)
    assert json.loads(json.dumps(asdict(presence)))["held"] == held
