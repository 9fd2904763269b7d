"""Keys that may remain in the server, and keys that are reported."""

from __future__ import annotations

import pytest

from tests.faults.nemesis.remains import Partition, Remains, unfit

P = "forebay:{3}"


def kept(*calls: str) -> Partition:
    """A correct partition with these finished calls."""
    partition = Partition({name: set(calls) for name in ("calls", "done", "size")})
    partition.calls["call"] = set(calls)
    partition.sizes = partition.bytes = 2048 * len(calls)
    return partition


def found(partition: Partition, *others: str) -> list[str]:
    """The reported keys, if the calls /a and /b have records."""
    return unfit(Remains({P: partition}, others), {"/a": "SUCCEEDED", "/b": "FAILED"})


def test_records_in_their_indexes_are_not_reported() -> None:
    partition = kept("/a", "/b")
    partition.calls["items"].add("/a")
    partition.indexes["newest_claimed_sent"] = {"survival 0"}
    assert found(partition, "forebay:{fleet}:workers", "_kombu.binding.survival", "unacked") == []
    assert found(Partition()) == []


@pytest.mark.parametrize("index", ["due", "waiting:survival", "something new"])
def test_an_ended_call_is_in_no_index_of_active_calls(index: str) -> None:
    partition = kept("/a")
    partition.indexes[index] = {"/a"}
    assert found(partition)


@pytest.mark.parametrize("index", ["calls", "done", "size"])
def test_an_index_with_missing_or_additional_records_is_reported(index: str) -> None:
    missing, more = kept("/a", "/b"), kept("/a")
    missing.indexes[index].remove("/b")
    more.indexes[index].add("/b")
    assert found(missing)
    assert found(more)
    del missing.indexes[index]
    assert found(missing)


def test_a_wrong_sum_of_bytes_is_reported() -> None:
    partition = kept("/a")
    partition.bytes += 1
    assert found(partition)


@pytest.mark.parametrize("kind", ["inputs", "items"])
def test_keys_of_a_call_without_a_record_are_reported(kind: str) -> None:
    partition = kept("/a")
    partition.calls[kind].add("/b")
    assert found(partition)


def test_requests_of_an_ended_call_are_reported() -> None:
    partition = kept("/a")
    partition.calls["inputs"].add("/a")
    assert found(partition)


def test_a_record_without_a_call_is_reported() -> None:
    assert found(kept("/a", "/stranger"))


@pytest.mark.parametrize("key", ["survival", "survival\x06\x169", "forebay:strange"])
def test_messages_in_a_queue_and_unknown_keys_are_reported(key: str) -> None:
    assert found(kept("/a"), key)
