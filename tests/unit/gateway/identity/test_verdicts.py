"""What is remembered of tokens, for how long, and of how many."""

from __future__ import annotations

import pytest

from forebay_gateway.identity import verdicts as module
from forebay_gateway.identity.principal import Principal
from forebay_gateway.identity.verdicts import Verdicts


def test_a_verdict_is_kept_until_the_token_expires() -> None:
    verdicts = Verdicts()
    ann, bob = Principal("acme", "ann", expires_at=100.0), Principal("acme", "bob")
    verdicts.add(b"ann", ann)
    verdicts.add(b"bob", bob)
    assert verdicts.principal(b"ann", 99.9) is ann
    assert verdicts.principal(b"ann", 100.0) is None
    assert verdicts.principal(b"ann", 99.0) is None
    assert verdicts.principal(b"bob", 1e12) is bob
    assert verdicts.principal(b"eve", 0.0) is None


def test_the_least_recently_used_go_first_and_forgeries_push_out_no_good_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_TOKENS", 2)
    monkeypatch.setattr(module, "MOST_FORGERIES", 2)
    verdicts, found = Verdicts(), Principal("acme")
    verdicts.add(b"1", found)
    verdicts.add(b"2", found)
    verdicts.principal(b"1", 0.0)
    verdicts.add(b"3", found)
    for digest in (b"4", b"5", b"6"):
        verdicts.add_forged(digest)
    assert [digest for digest in (b"1", b"2", b"3") if verdicts.principal(digest, 0.0)] == [
        b"1",
        b"3",
    ]
    assert [verdicts.is_forged(digest) for digest in (b"4", b"5", b"6")] == [False, True, True]
