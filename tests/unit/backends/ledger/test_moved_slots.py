"""Commands whose slot moves: they are sent again until they have run, or for as long as told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from redis.exceptions import AskError, ClusterDownError, MovedError, ResponseError, TryAgainError

from forebay_backends.ledger.commands import Commands
from forebay_backends.ledger.moved_slots import sent_after_moves
from forebay_backends.ledger.operations.attempts import emit
from forebay_backends.ledger.operations.maintenance import read_clock
from tests.unit.samples import CALL

MOVED, ASK = MovedError("1 127.0.0.1:7001"), AskError("1 127.0.0.1:7001")
AWAY = (MOVED, ASK, TryAgainError("later"), ClusterDownError("The cluster is down"))


class Server:
    """Gives each command its replies, one after the other; the last one for ever."""

    def __init__(self, *replies: Sequence[Any]) -> None:
        self._replies = [list(each) for each in replies]
        self.sent: list[list[int]] = []
        self.followed: list[list[Any]] = []

    async def send(self, indexes: Sequence[int]) -> list[Any]:
        self.sent.append(list(indexes))
        return [
            left.pop(0) if len(left) > 1 else left[0]
            for left in (self._replies[i] for i in indexes)
        ]

    async def follow(self, replies: Sequence[Any]) -> None:
        self.followed.append(list(replies))

    async def replies(self, patience_s: float = 60.0) -> list[Any]:
        return await sent_after_moves(self.send, len(self._replies), self.follow, patience_s)


@pytest.mark.parametrize("reply", AWAY, ids=lambda reply: type(reply).__name__)
async def test_what_did_not_run_is_sent_again_alone(reply: Exception) -> None:
    server = Server(["first"], [reply, reply, "second"], ["third"])
    assert await server.replies() == ["first", "second", "third"]
    assert server.sent == [[0, 1, 2], [1], [1]]
    assert server.followed[0] == ["first", reply, "third"]


async def test_other_errors_are_replies() -> None:
    error = ResponseError("wrong")
    server = Server([error])
    assert await server.replies() == [error]
    assert server.sent == [[0]]


async def test_a_slot_that_moves_for_too_long_is_told_as_such() -> None:
    """MOVED would be read as a wrong URL."""
    (reply, down) = await Server([MOVED], [AWAY[3]]).replies(patience_s=0.0)
    assert isinstance(reply, TryAgainError)
    assert down is AWAY[3]


def test_in_a_cluster_a_script_has_two_keys_of_one_slot() -> None:
    """Of two keys that are missing, no node of a slot that moves runs the script."""
    _, _, count, *names, _ = Commands("app:", is_cluster=True).evalsha(read_clock(3))
    assert (count, names) == (2, ["app:forebay:{3}", "app:forebay:{3}:never"])


def test_in_a_cluster_a_large_message_is_an_argument_of_the_script() -> None:
    item = bytes(100_000)
    operation = emit(CALL, 1, 0, item)
    assert item in Commands(is_cluster=True).eval(operation)
    assert item not in Commands().eval(operation)
    assert not Commands(is_cluster=True).needs_transaction([operation])
    assert Commands().needs_transaction([operation])
