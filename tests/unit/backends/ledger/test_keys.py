"""Names of calls and of their keys."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay_backends.ledger.keys import (
    KEYS,
    PARTITIONS,
    CallKey,
    control_channel,
    gateway_channel,
    is_call_id,
    partition_prefix,
    presence_key,
    queue_channel,
)

_IDS = st.from_regex(r"[A-Za-z0-9._:-]{1,128}", fullmatch=True)
_OWNERS = st.from_regex(r"[A-Za-z0-9._-]{0,64}", fullmatch=True)


@given(_IDS)
def test_the_permitted_characters_make_an_id(call_id: str) -> None:
    assert is_call_id(call_id)


@pytest.mark.parametrize("text", ["", "a b", "a/b", "a\n", "ä", "x" * 129, "a{b}", "\u0663"])
def test_anything_else_is_no_id(text: str) -> None:
    assert not is_call_id(text)


@given(_IDS, _OWNERS)
def test_a_key_reads_back_as_it_was_written(call_id: str, owner: str) -> None:
    key = CallKey(call_id, owner)
    assert CallKey.parse(str(key)) == key


@given(_IDS, _OWNERS)
def test_a_tasks_id_stands_for_one_call(call_id: str, owner: str) -> None:
    key = CallKey(call_id, owner)
    assert CallKey.of_task_id(key.task_id) == key


def test_the_task_of_a_call_without_an_owner_has_the_calls_id() -> None:
    assert CallKey("call-1").task_id == "call-1"
    assert CallKey("call-1", "acme").task_id == "acme/call-1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "id",
        "owner/",
        "owner/a b",
        "a/b/c",
        "ä/b",
        "a b/c",
        "a:b/c",
        "{1}/c",
        "x" * 65 + "/c",
    ],
)
def test_an_invalid_key_is_refused_and_shown(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        CallKey.parse(text)


@given(_IDS, _OWNERS)
def test_all_keys_of_a_call_share_the_hash_tag_of_its_partition(call_id: str, owner: str) -> None:
    key = CallKey(call_id, owner)
    names = {key.partition, key.items, key.inputs}
    tags = {re.findall(r"\{([^}]*)\}", name)[0] for name in names}
    assert len(tags) == 1
    assert int(tags.pop()) in range(PARTITIONS)
    assert len(names) == 3


def test_ids_of_two_owners_are_independent() -> None:
    assert CallKey("id", "a").items != CallKey("id", "b").items
    assert CallKey("id", "a").inputs != CallKey("id").inputs


def test_calls_are_spread_over_all_partitions() -> None:
    used = {CallKey(f"call-{number}").partition for number in range(400)}
    assert used == {partition_prefix(number) for number in range(PARTITIONS)}


def test_a_call_stays_where_earlier_versions_put_it() -> None:
    # Pinned: a different partition would orphan the calls of a ledger in use.
    assert CallKey("call-1").items == "forebay:{8}:items:/call-1"
    assert CallKey("call-1").inputs == "forebay:{8}:inputs:/call-1"


def test_keys_and_channels_keep_the_names_that_other_versions_use() -> None:
    assert presence_key("a") == "forebay:{fleet}:worker:a"
    assert gateway_channel("a") == "forebay:gateway:a"
    assert queue_channel("a") == "forebay:queue:a"
    assert control_channel("a") == "forebay:control:a"


@pytest.mark.parametrize(
    ("key", "pattern"),
    [
        ("forebay:{8}:items:/call-1", "forebay:{N}:items:CALL"),
        ("forebay:{15}:call:alice/1", "forebay:{N}:call:CALL"),
        ("forebay:{8}:waiting:my:queue", "forebay:{N}:waiting:QUEUE"),
        ("forebay:{fleet}:worker:celery@host", "forebay:{fleet}:worker:WORKER"),
        ("forebay:{8}:due", "forebay:{N}:due"),
        ("forebay:{8}:calls", "forebay:{N}:calls"),
        ("forebay:{8}:calls:acme", "forebay:{N}:calls:OWNER"),
        ("forebay:{8}:calls:", None),
        ("forebay:{8}:calls:a b", None),
        ("forebay:{8}:items:a b/call-1", None),
        ("forebay:{8}:items:", None),
        ("forebay:{8}:items:call-1", None),
        ("forebay:{x}:due", None),
        ("forebay:{8}:due:more", None),
        ("another", None),
    ],
)
def test_a_key_is_of_one_kind_or_none(key: str, pattern: str | None) -> None:
    found = [kind.pattern for kind in KEYS if kind.matches(key)]
    assert found == ([] if pattern is None else [pattern])
