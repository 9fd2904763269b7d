"""Runs that identical calls share: which call begins one, which join it, and until when."""

from __future__ import annotations

import hashlib
import uuid
from contextlib import closing
from dataclasses import dataclass
from typing import cast

import pytest

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.keys import CallKey, partition_prefix
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.attempts import begin, claim, emit, finish, trim
from forebay_backends.ledger.operations.base import Operation, Push, Refusal, Refused
from forebay_backends.ledger.operations.cache import Joined, accept_cached, join
from forebay_backends.ledger.operations.calls import (
    CallSnapshot,
    ExistingCall,
    NewCall,
    attach,
    cancel,
    discard,
    leave,
)
from forebay_backends.ledger.operations.inspection import delete
from forebay_backends.ledger.operations.maintenance import evict
from forebay_gateway.rpc.cache_key import CacheKey
from tests.contract.lossy import lossy_link
from tests.contract.records import NOBODY, WORKER, Record, new_call, sweep_all

OTHER_GATEWAY = "test:gateway:other"
TTL_S = 60.0
READING_MS = 60_000


@dataclass(frozen=True)
class Runs:
    """The runs of one cache key."""

    ledger: BlockingLedger
    key: CacheKey

    def new(self, **changes: object) -> NewCall:
        return new_call(cache=self.key.digest, cache_ttl_s=self.key.ttl_s, **changes)

    def accepts(
        self,
        channel: str = NOBODY,
        *,
        call: CallKey | None = None,
        renews: bool = False,
        **changes: object,
    ) -> Operation[Joined | ExistingCall | None]:
        call = call or self.key.new_call()
        push = Push("queue", str(call).encode())
        return accept_cached(
            call, self.new(**changes), channel, push, proof=str(call).encode(), renews=renews
        )

    def begun(self, channel: str = NOBODY, **options: object) -> Record:
        """A run that a call began, and that a worker has begun."""
        call = self.key.new_call()
        assert self.ledger.run(self.accepts(channel, call=call, **options)) is None  # type: ignore[arg-type]
        assert self.ledger.run(claim(call, 1, WORKER)) is None
        self.ledger.run(begin(call, 1, WORKER, "control"))
        return Record(self.ledger, call)

    def succeeded(self, **options: object) -> Record:
        record = self.begun(**options)  # type: ignore[arg-type]
        assert self.ledger.run(finish(record.call, 1, Event.SUCCEED, "", b"", b"result")) is None
        return record

    def joined(self, channel: str = OTHER_GATEWAY, **options: object) -> CallKey | None:
        """The call that another one joins; None if it begins a run of its own."""
        found = self.ledger.run(self.accepts(channel, **options))  # type: ignore[arg-type]
        assert found is None or isinstance(found, Joined)
        if found is None:
            return None
        assert found.proof == str(found.call).encode()
        return found.call

    @property
    def name(self) -> str:
        return f"{partition_prefix(self.key.partition)}:cache:{self.key.digest}"

    @property
    def entry(self) -> CallKey | None:
        """The call that the entry names."""
        value = cast("bytes | None", self.ledger.redis.get(self.name))
        return None if value is None else CallKey.parse(value.decode().split()[0])

    def ages(self, record: Record, seconds: float) -> None:
        """Moves the end of a call into the past."""
        finished = float(record.fields["finished_at"]) - seconds * 1000
        key = f"{record.call.partition}:call:{record.call}"
        self.ledger.redis.hset(key, "finished_at", str(int(finished)))


def runs_of(ledger: BlockingLedger, owner: str = "") -> Runs:
    digest = hashlib.sha256(uuid.uuid4().bytes).hexdigest()
    return Runs(ledger, CacheKey(digest, owner, TTL_S))


@pytest.fixture(params=["", "acme"])
def runs(ledger: BlockingLedger, request: pytest.FixtureRequest) -> Runs:
    return runs_of(ledger, str(request.param))


def test_a_call_joins_the_run_of_an_identical_call_while_it_waits_and_runs(runs: Runs) -> None:
    call = runs.key.new_call()
    assert runs.ledger.run(runs.accepts(call=call)) is None
    assert runs.joined() == call
    runs.ledger.run(claim(call, 1, WORKER))
    runs.ledger.run(begin(call, 1, WORKER, "control"))
    assert runs.joined() == call
    assert runs.ledger.redis.llen("queue") == 1  # one message
    assert Record(runs.ledger, call).watchers == [OTHER_GATEWAY, NOBODY]


def test_calls_with_another_key_have_runs_of_their_own(runs: Runs) -> None:
    runs.begun()
    assert runs_of(runs.ledger).joined() is None


def test_a_result_can_be_joined_until_its_ttl_is_over(runs: Runs) -> None:
    record = runs.succeeded()
    runs.ages(record, TTL_S - 2)
    assert runs.joined() == record.call
    snapshot = runs.ledger.run(attach(record.call, OTHER_GATEWAY))
    assert isinstance(snapshot, CallSnapshot)
    assert (snapshot.cache, snapshot.state) == (runs.key.digest, State.SUCCEEDED)
    runs.ages(record, 3)
    assert runs.joined() is None
    assert runs.entry not in (None, record.call)  # the new run replaces the old one


def test_a_shorter_ttl_of_the_caller_counts(runs: Runs) -> None:
    record = runs.succeeded()
    runs.ages(record, 2)
    assert runs.ledger.run(join(runs.key.digest, 1.0, NOBODY, linger_s=0, detach=False)) is None
    found = runs.ledger.run(join(runs.key.digest, 30.0, NOBODY, linger_s=0, detach=False))
    assert found == Joined(record.call, str(record.call).encode())


def test_the_entry_expires_with_its_ttl_and_not_before_the_run_ends(runs: Runs) -> None:
    record = runs.begun()
    assert runs.ledger.redis.ttl(runs.name) == -1
    assert runs.ledger.run(finish(record.call, 1, Event.SUCCEED, "", b"", b"result")) is None
    assert TTL_S - 10 < cast(int, runs.ledger.redis.ttl(runs.name)) <= TTL_S


@pytest.mark.parametrize("event", [Event.FAIL, Event.CANCEL])
def test_a_run_that_fails_is_not_kept(runs: Runs, event: Event) -> None:
    record = runs.begun()
    assert runs.ledger.run(finish(record.call, 1, event, "WHY", b"outcome")) is None
    assert runs.entry is None
    assert runs.joined() is None


def test_a_cancelled_run_is_not_joined(runs: Runs) -> None:
    record = runs.begun()
    assert runs.ledger.run(cancel(record.call)) is None
    assert runs.joined() is None


def test_a_run_past_its_deadline_is_not_joined(runs: Runs) -> None:
    record = runs.begun(run_limit_s=60.0)
    assert runs.joined() == record.call
    key = f"{record.call.partition}:call:{record.call}"
    runs.ledger.redis.hset(key, "deadline", "1")
    assert runs.joined() is None


def test_a_result_without_its_first_items_is_not_joined(runs: Runs) -> None:
    record = runs.begun()
    runs.ledger.run(emit(record.call, 1, 0, b"item"))
    assert runs.joined() == record.call
    runs.ledger.run(trim(record.call, 1, 1, 4))
    assert runs.joined() is None


def test_a_call_that_wants_a_new_run_replaces_the_entry_and_leaves_the_old_run(
    runs: Runs,
) -> None:
    old = runs.begun()
    new = runs.begun(renews=True)
    assert runs.entry == new.call
    assert runs.ledger.run(finish(old.call, 1, Event.FAIL, "WHY", b"")) is None
    assert runs.entry == new.call
    assert runs.ledger.redis.ttl(runs.name) == -1
    other = runs.begun(renews=True)
    assert runs.ledger.run(finish(new.call, 1, Event.SUCCEED, "", b"", b"old")) is None
    assert runs.joined() == other.call
    assert runs.ledger.redis.ttl(runs.name) == -1


def test_an_entry_of_another_key_is_not_trusted(runs: Runs) -> None:
    record = runs.begun()
    other = runs_of(runs.ledger)
    while other.key.partition != runs.key.partition:
        other = runs_of(runs.ledger)
    runs.ledger.redis.set(other.name, f"{record.call} proof")
    assert other.joined() is None


def test_a_run_goes_on_when_one_of_two_gateways_has_left(runs: Runs) -> None:
    record = runs.begun(linger_s=0.0)
    assert runs.joined(linger_s=0.0) == record.call
    runs.ledger.run(leave(record.call, NOBODY))
    assert record.state is State.RUNNING
    runs.ledger.run(leave(record.call, OTHER_GATEWAY))
    assert record.state is State.CANCELLED
    assert runs.entry is None


def test_joining_ends_a_linger_and_takes_the_longest(runs: Runs) -> None:
    record = runs.begun(linger_s=30.0)
    runs.ledger.run(leave(record.call, NOBODY))
    assert "abandoned_at" in record.fields
    assert runs.joined(linger_s=0.0) == record.call
    assert "abandoned_at" not in record.fields
    assert record.fields["linger_ms"] == b"30000"
    assert runs.joined(linger_s=40.0) == record.call
    assert record.fields["linger_ms"] == b"40000"


def test_a_caller_that_detaches_keeps_the_run_for_good(runs: Runs) -> None:
    record = runs.begun(linger_s=0.0)
    assert runs.joined(detach=True) == record.call
    assert runs.joined(detach=False) == record.call
    for channel in (NOBODY, OTHER_GATEWAY):
        runs.ledger.run(leave(record.call, channel))
    assert record.state is State.RUNNING


def test_an_accept_that_joins_detaches_the_run(runs: Runs) -> None:
    record = runs.begun(linger_s=0.0)
    joined = runs.ledger.run(runs.accepts(OTHER_GATEWAY, detach=True))
    assert isinstance(joined, Joined)
    assert record.fields["detach"] == b"1"
    for channel in (NOBODY, OTHER_GATEWAY):
        runs.ledger.run(leave(record.call, channel))
    assert record.state is State.RUNNING


def test_a_run_that_was_joined_is_not_discarded(runs: Runs) -> None:
    call = runs.key.new_call()
    runs.ledger.run(runs.accepts(call=call))
    assert runs.joined() == call
    assert runs.ledger.run(discard(call)) == Refused(State.QUEUED)
    alone = runs_of(runs.ledger)
    call = alone.key.new_call()
    alone.ledger.run(alone.accepts(call=call))
    assert alone.ledger.run(discard(call)) is None
    assert alone.entry is None


def test_a_result_leaves_its_entry_with_its_record(runs: Runs) -> None:
    deleted = runs.succeeded()
    assert runs.ledger.run(delete(deleted.call)) is None
    assert runs.entry is None
    evicted = runs.succeeded()
    runs.ledger.run(leave(evicted.call, NOBODY))
    assert runs.ledger.run(evict(runs.key.partition)) > 0
    assert runs.entry is None
    replaced, kept = runs.succeeded(), runs.succeeded(renews=True)
    assert runs.ledger.run(delete(replaced.call)) is None
    assert runs.entry == kept.call


def test_who_joins_at_the_end_of_the_retention_has_time_to_read(runs: Runs) -> None:
    record = runs.succeeded(retention_s=TTL_S)
    done, member = f"{record.call.partition}:done", str(record.call)
    runs.ledger.redis.zincrby(done, -(TTL_S - 1) * 1000, member)
    before = cast(float, runs.ledger.redis.zscore(done, member))
    assert runs.joined() == record.call
    after = cast(float, runs.ledger.redis.zscore(done, member))
    assert READING_MS - 5000 < after - before <= READING_MS
    assert runs.joined() == record.call
    long = runs.succeeded(retention_s=600.0, renews=True)
    before = cast(float, runs.ledger.redis.zscore(done, str(long.call)))
    assert runs.joined() == long.call
    assert runs.ledger.redis.zscore(done, str(long.call)) == before


def test_a_joined_record_whose_retention_is_over_is_unknown_and_can_be_begun_anew(
    runs: Runs,
) -> None:
    record = runs.succeeded(retention_s=0.001)
    sweep_all(runs.ledger)
    assert runs.ledger.run(attach(record.call, NOBODY)) == Refused(Refusal.UNKNOWN)
    assert runs.joined() is None


def test_the_run_has_the_callers_watch_before_the_caller_knows_it(runs: Runs) -> None:
    record = runs.begun(linger_s=0.0)
    runs.joined(linger_s=0.0)
    watch_ms = record.watches[OTHER_GATEWAY]
    assert watch_ms > float(record.fields["created_at"]) + 10_000
    runs.ledger.run(leave(record.call, NOBODY))
    sweep_all(runs.ledger)
    assert record.state is State.RUNNING


def test_only_joining_begins_no_run(runs: Runs) -> None:
    asked = join(runs.key.digest, TTL_S, OTHER_GATEWAY, linger_s=0.0, detach=False)
    assert runs.ledger.run(asked) is None
    assert runs.entry is None
    record = runs.begun()
    assert runs.ledger.run(asked) == Joined(record.call, str(record.call).encode())
    assert record.watchers == [OTHER_GATEWAY, NOBODY]
    assert record.fields["attached"] == b"1"


def test_an_accept_whose_reply_was_lost_begins_one_run(
    ledger: BlockingLedger, ledger_url: str
) -> None:
    runs = runs_of(ledger)
    ledger.run(runs_of(ledger).accepts())  # so that the server knows the script
    with lossy_link(ledger_url) as link, closing(BlockingLedger(link.url)) as behind:
        for renews in (False, True):
            call = runs.key.new_call()
            link.lose_answer_to("calls/accept_cached")
            reply = behind.run(runs.accepts(call=call, renews=renews))
            assert link.lost.is_set()
            assert reply == ExistingCall("pkg.Service.Method", "d1")
            assert runs.entry == call
            messages = cast("list[bytes]", ledger.redis.lrange("queue", 0, -1))
            assert messages.count(str(call).encode()) == 1
