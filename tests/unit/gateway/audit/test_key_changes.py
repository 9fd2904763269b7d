"""The audit log names keys that were added, removed or changed, and never shows one."""

from __future__ import annotations

import pytest

from forebay_gateway.audit.key_changes import KeyWatch, key_changes


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, ""),
        ({"a": 1}, {"a": 1}, ""),
        ({"a": 1}, {"a": 1, "b": 2}, "added: b"),
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, "added: c; removed: a; changed: b"),
        (
            {},
            {str(n): n for n in range(100, 112)},
            "added: " + ", ".join(map(str, range(100, 110))) + " and 2 more",
        ),
    ],
)
def test_changes_are_named(before: dict[str, int], after: dict[str, int], expected: str) -> None:
    assert key_changes(before, after) == expected


def test_each_change_is_told_once() -> None:
    watch = KeyWatch({"file": {"a": "secret"}}, [])
    assert list(watch.changes({"file": {"a": "secret"}})) == []
    after = {"file": {"a": "other"}, "issuer": {"k": 1}}
    assert list(watch.changes(after)) == [("file", "changed: a"), ("issuer", "added: k")]
    assert list(watch.changes(after)) == []


def test_a_problem_is_told_when_it_comes_and_again_after_it_was_gone() -> None:
    watch = KeyWatch({}, ["old"])
    assert watch.new_problems(["old", "new"]) == ["new"]
    assert watch.new_problems(["old", "new"]) == []
    assert watch.new_problems([]) == []
    assert watch.new_problems(["old"]) == ["old"]
