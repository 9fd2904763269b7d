"""With signing keys, whoever writes to the ledger can't shorten or mix a stream unnoticed.

The call waits behind another one while the test alters what the ledger has of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from forebay.v1 import calls_pb2
from forebay.v1.calls_pb2_grpc import CallServiceStub
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.keys import CallKey
from tests.contract.test_signed_messages import keys_file
from tests.echo.gates import Gates
from tests.echo.running import (
    COROUTINES_APP,
    ECHO_APP,
    echo_environment,
    echo_gateway,
    echo_worker,
)
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually, short_folder

pytestmark = pytest.mark.variant

CALL_S = 60.0
COUNT = 6
TEXTS = "abcdef"

Entries = list[tuple[bytes, dict[bytes, bytes]]]


@dataclass(frozen=True)
class System:
    """A gateway and a worker with keys and one slot, and an attacker's access to the ledger."""

    channel: grpc.Channel
    ledger: BlockingLedger

    @property
    def stub(self) -> EchoServiceStub:
        return EchoServiceStub(self.channel)

    def rewrite(self, stream: str, alter: Callable[[Entries], object]) -> None:
        """Replaces the stream's entries; `alter` changes the list in place."""
        redis = self.ledger.redis
        entries: Entries = redis.xrange(stream)
        alter(entries)
        redis.delete(stream)
        for entry_id, fields in entries:
            redis.xadd(stream, fields, id=entry_id)


@pytest.fixture(scope="module", params=[("threads", ECHO_APP), ("asyncio", COROUTINES_APP)])
def system(request: pytest.FixtureRequest, redis_url: str) -> Iterator[System]:
    pool, app = request.param
    url = f"{redis_url}9"
    with short_folder() as folder:
        keys = keys_file(folder, "new")
        env = echo_environment(FOREBAY_LEDGER_URL=url, FOREBAY_SIGNING_KEYS=str(keys))
        with (
            echo_gateway(env) as (_, address),
            echo_worker(env, pool, slots=1, app=app),
            grpc.insecure_channel(address) as channel,
            closing(BlockingLedger(url)) as ledger,
        ):
            yield System(channel, ledger)


def replace(entries: Entries, at: int, by: int) -> None:
    entries[at] = (entries[at][0], entries[by][1])


def swap(entries: Entries) -> None:
    second, third = entries[1][1], entries[2][1]
    entries[1:3] = [(entries[1][0], third), (entries[2][0], second)]


def forge(entries: Entries) -> None:
    entries[4] = (entries[4][0], {b"m": EchoRequest(text="x").SerializeToString()})


STREAMS: dict[str, Callable[[Entries], object]] = {
    "altered": forge,
    "moved": swap,
    "doubled": lambda entries: replace(entries, 3, 2),
    "deleted": lambda entries: entries.pop(2),
}
"""Changes to a stream of six messages, of which the worker reads four at once."""


@pytest.mark.parametrize("method", ["ClientStream", "Listen"])
@pytest.mark.parametrize("altered", [*STREAMS, "shorter", "shorter and deleted"])
def test_a_request_stream_that_was_altered_is_not_computed(
    system: System, method: str, altered: str, tmp_path: Path
) -> None:
    """`Listen` is live: its handler asks for requests as they come."""
    call, gates, redis = CallKey(str(uuid.uuid4())), Gates(tmp_path), system.ledger.redis
    first = gates.call(system.stub, "Unary", "first")
    eventually(lambda: gates.begun() == ["first"], "the slot is taken")
    answer = getattr(system.stub, method).future(
        iter([EchoRequest(text=text) for text in TEXTS]),
        timeout=CALL_S,
        metadata=(("forebay-call-id", call.id),),
    )

    def is_complete() -> bool:
        state, live = redis.hmget(call.record, "state", "live_requests")
        return state == b"QUEUED" and live in (None, b"complete")

    eventually(is_complete, "all requests are in the ledger", CALL_S)
    if altered in STREAMS:
        system.rewrite(call.inputs, STREAMS[altered])
    else:
        redis.hset(call.record, "request_count", COUNT - 1)
    if altered == "shorter and deleted":
        system.rewrite(call.inputs, lambda entries: entries.pop())
    gates.open("first")
    assert first.result().text == "first"
    assert answer.code() is grpc.StatusCode.DATA_LOSS


@pytest.mark.parametrize("method", ["ClientStream", "Listen"])
def test_a_request_stream_of_any_length_is_computed(system: System, method: str) -> None:
    for count in (0, 1, 4, 5, 9):
        requests = iter([EchoRequest(text=str(number)) for number in range(count)])
        answer = getattr(system.stub, method)(requests, timeout=CALL_S)
        assert answer.text == "".join(map(str, range(count)))


@pytest.mark.parametrize("altered", [*STREAMS, "shorter"])
def test_items_that_were_altered_are_not_read(system: System, altered: str) -> None:
    """By callers that attach, and by `ReadItems`."""
    call, redis = CallKey(str(uuid.uuid4())), system.ledger.redis
    metadata = (("forebay-call-id", call.id),)
    request = EchoRequest(text="x", count=COUNT)
    items: list[Any] = list(system.stub.ServerStream(request, timeout=CALL_S, metadata=metadata))
    assert len(items) == COUNT
    read = calls_pb2.ReadItemsRequest(name=f"operations/{call.id}")
    service = CallServiceStub(system.channel)
    assert [item.ordinal for item in service.ReadItems(read, timeout=CALL_S)] == list(range(COUNT))
    if altered in STREAMS:
        system.rewrite(call.items, STREAMS[altered])
    else:
        redis.hset(call.record, "item_count", COUNT - 1)
    for again in (
        system.stub.ServerStream(request, timeout=CALL_S, metadata=metadata),
        service.ReadItems(read, timeout=CALL_S),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            list(again)
        assert caught.value.code() is grpc.StatusCode.DATA_LOSS
