"""Comparing the workers' result backend with the gateway's."""

from __future__ import annotations

import pytest

from forebay_gateway.fleet.result_backends import Match, compared, shown_backend

SAME, UNSURE, OTHER = Match.SAME, Match.UNSURE, Match.OTHER


@pytest.mark.parametrize(
    ("theirs", "ours", "match"),
    [
        ("rpc://", "rpc://", SAME),
        ("rpc", "rpc://", SAME),
        ("redis://:********@localhost:6379/1", "redis://:pw@127.0.0.1:6379/1", SAME),
        ("redis://localhost/1", "valkey://LOCALHOST:6379/1", SAME),
        ("redis://localhost:6379/1", "redis://localhost:6379/2", OTHER),
        ("redis://localhost:6379/1", "redis://localhost:6380/1", OTHER),
        ("redis://cache:6379/1", "redis://10.0.0.5:6379/1", UNSURE),
        ("redis://cache:6379/1", "redis://10.0.0.5:6379/2", OTHER),
        ("redis+socket:///run/r.sock?virtual_host=1", "unix:///run/r.sock?db=1", SAME),
        ("redis+socket:///run/r.sock", "redis://localhost:6379/0", UNSURE),
        ("sentinel://a:26379/0;sentinel://b:26379/0", "sentinel://a,b/main/0", SAME),
        ("redis://localhost:6379/1", "rpc://", OTHER),
        ("rpc://", "redis://localhost:6379/1", OTHER),
        ("disabled", "rpc://", OTHER),
        ("", "rpc://", SAME),
        ("db+postgresql://u:********@h/shop", "db+postgresql+psycopg://u:pw@h/shop", SAME),
        ("db+postgresql://u:********@h/shop", "db+postgresql://u:pw@h/other", OTHER),
        ("db+postgresql://u:********@h/shop", "db+postgresql://u:pw@i/shop", UNSURE),
        ("db+postgresql://u:********@h/shop", "db+postgresql://u:p/w@h/shop", SAME),
        ("file:///a", "file:///b", UNSURE),
        ("django-db", "django-db", SAME),
        ("django-db", "rpc://", OTHER),
        ("shop.results:Backend", "rpc://", SAME),
    ],
)
def test_a_difference_counts_as_far_as_it_proves_something(
    theirs: str, ours: str, match: Match
) -> None:
    assert compared(theirs, ours) is match


def test_a_backend_is_shown_without_user_and_password() -> None:
    assert shown_backend("redis://me:secret@cache:6379/1") == "redis://***@cache:6379/1"
    assert "secret" not in shown_backend("db+postgresql://me:secret@h/shop")
