"""Replies of coroutine handlers: they wait for a gateway that connects again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from forebay.v1 import call_pb2
from forebay_backends.ledger.frames import Reply, parse_frame
from forebay_workers.coroutines import replies
from forebay_workers.coroutines.replies import Replies
from forebay_workers.handler import absent_gateways


class Ledger:
    """Keeps what is published once the gateway listens, after so many attempts."""

    def __init__(self, absent_for: int) -> None:
        self.attempts = 0
        self.received: list[str] = []
        self._absent_for = absent_for

    async def publish(self, _: str, frame: bytes) -> int:
        self.attempts += 1
        if self.attempts <= self._absent_for:
            return 0
        _, reply = parse_frame(frame)
        assert isinstance(reply, Reply)
        members = call_pb2.BatchReply.FromString(reply.payload).members
        self.received += [member.call_id for member in members]
        return 1


async def _sent(ledger: Any, *call_ids: str) -> None:
    sender = Replies(ledger)
    sends = [sender.send("gateway", call_pb2.BatchMemberReply(call_id=one)) for one in call_ids]
    await asyncio.gather(*sends)


async def test_replies_wait_for_a_gateway_that_connects_again() -> None:
    ledger = Ledger(absent_for=2)
    await _sent(ledger, "a", "b", "c")
    assert sorted(ledger.received) == ["a", "b", "c"]


async def test_only_the_first_replies_wait_for_a_gateway_that_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replies, "RETRY_DELAY_S", 0.02)
    monkeypatch.setattr(absent_gateways, "PATIENCE_S", 0.2)
    ledger = Ledger(absent_for=1000)
    await _sent(ledger, *map(str, range(200)))
    assert ledger.received == []
    assert ledger.attempts < 20
