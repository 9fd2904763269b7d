"""What is remembered of tokens, for how long, and of how many."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from forebay_gateway.identity import verdicts as module
from forebay_gateway.identity.principal import Principal
from forebay_gateway.identity.verdicts import Forgeries, Verdict, Verdicts


@dataclass
class Source:
    """Keys that the test replaces."""

    keys: object = field(default_factory=object)

    def verdict(self, subject: str = "", expires_at: float | None = None) -> Verdict:
        """The verdict on a token that the keys of now have signed."""
        return Verdict(Principal("acme", subject, expires_at=expires_at), self, self.keys)


def test_a_verdict_is_kept_until_the_token_expires() -> None:
    verdicts, source = Verdicts(), Source()
    ann, bob = source.verdict("ann", expires_at=100.0), source.verdict("bob")
    verdicts.add("ann", ann)
    verdicts.add("bob", bob)
    assert verdicts.principal("ann", 99.9) is ann.principal
    assert verdicts.principal("ann", 100.0) is None
    assert verdicts.principal("ann", 99.0) is None
    assert verdicts.principal("bob", 1e12) is bob.principal
    assert verdicts.principal("eve", 0.0) is None


def test_a_verdict_ends_when_the_keys_of_its_source_change() -> None:
    verdicts, changing, lasting = Verdicts(), Source(), Source()
    verdicts.add("ann", changing.verdict("ann"))
    verdicts.add("bob", lasting.verdict("bob"))
    before, changing.keys = changing.keys, object()
    assert verdicts.principal("ann", 0.0) is None
    assert verdicts.principal("bob", 0.0) is not None
    changing.keys = before
    assert verdicts.principal("ann", 0.0) is None, "it was forgotten"


def test_the_least_recently_used_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TOKENS", 2)
    verdicts, verdict = Verdicts(), Source().verdict()
    verdicts.add("1", verdict)
    verdicts.add("2", verdict)
    verdicts.principal("1", 0.0)
    verdicts.add("3", verdict)
    assert [token for token in "123" if verdicts.principal(token, 0.0)] == ["1", "3"]


def test_the_oldest_forgeries_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FORGERIES", 2)
    forgeries = Forgeries()
    for token in "123":
        forgeries.add(token)
    assert [token in forgeries for token in "123"] == [False, True, True]


def test_any_text_can_be_looked_up() -> None:
    verdicts = Verdicts()
    verdicts.add("?", Source().verdict())
    assert verdicts.principal("\udcff", 0.0) is None
