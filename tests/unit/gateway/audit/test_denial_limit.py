"""A flood of denials fills no disk, and hides nobody else's."""

from __future__ import annotations

from forebay_gateway.audit.denial_limit import ALL, EACH, OTHERS, DenialLimit


def test_a_peers_first_denials_are_written_and_the_others_counted() -> None:
    limit = DenialLimit()
    assert [limit.admits("a") for _ in range(EACH + 5)] == [True] * EACH + [False] * 5
    assert limit.admits("b")
    assert limit.next_window() == {"a": 5}


def test_each_window_begins_anew() -> None:
    limit = DenialLimit()
    for _ in range(EACH + 1):
        limit.admits("a")
    limit.next_window()
    assert limit.admits("a")
    assert limit.next_window() == {}


def test_a_thousand_peers_write_no_more_than_the_limit_of_all() -> None:
    limit = DenialLimit()
    admitted = sum(limit.admits(f"peer-{number}") for number in range(5000))
    assert admitted == ALL
    omitted = limit.next_window()
    assert sum(omitted.values()) == 5000 - ALL
    assert omitted[OTHERS] > 0
    assert len(omitted) <= 1001
