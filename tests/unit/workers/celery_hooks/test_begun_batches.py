"""The batches that a worker has begun."""

from __future__ import annotations

from forebay_workers.celery_hooks.begun_batches import BegunBatches


def test_a_batch_is_remembered_until_it_expires() -> None:
    begun = BegunBatches()
    begun.add("a", 10)
    begun.add("b", 20)
    begun.forget_expired(9)
    assert "a" in begun
    begun.forget_expired(10)
    assert "a" not in begun
    assert "b" in begun


def test_of_very_many_batches_the_latest_are_remembered() -> None:
    begun = BegunBatches(max_count=2)
    for name in "abc":
        begun.add(name, 10)
    assert [name for name in "abc" if name in begun] == ["b", "c"]
