"""The names of the calls that the benchmark adds to a ledger."""

from __future__ import annotations

from collections import Counter

from bench.filling import A_BATCH, batches
from bench.finished import MODELS
from forebay_backends.ledger.keys import PARTITIONS, CallKey


def test_every_call_is_named_once_and_is_in_its_own_partition() -> None:
    count = 3 * A_BATCH * PARTITIONS // 2
    named: Counter[str] = Counter()
    for partition, calls in batches(count):
        assert {CallKey.parse(call).partition for call in calls} == {partition}
        named.update(calls)
    assert named.total() == len(named) == count


def test_no_batch_is_over_its_size() -> None:
    assert max(len(calls) for _, calls in batches(40 * A_BATCH)) == A_BATCH


def test_every_partition_has_a_model() -> None:
    assert len({model.partition for model in MODELS}) == PARTITIONS
