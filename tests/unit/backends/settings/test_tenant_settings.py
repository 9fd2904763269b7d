"""The settings of tenants."""

from __future__ import annotations

import pytest

from forebay_backends.settings import SettingsError, given_settings
from forebay_backends.settings.tenant_settings import TenantSettings, limits_of


def test_unset_limits_are_those_of_the_defaults() -> None:
    tenants = {
        "*": TenantSettings(in_flight=10, per_second=2),
        "acme": TenantSettings(in_flight=500, weight=2),
    }
    acme, other = limits_of("acme", tenants), limits_of("other", tenants)
    assert (acme.in_flight, acme.per_second, acme.weight) == (500, 2, 2)
    assert (other.in_flight, other.per_second, other.weight) == (10, 2, None)
    assert limits_of("acme", {}).in_flight is None


def test_limits_that_were_checked_do_not_change() -> None:
    limits = TenantSettings(in_flight=10)
    with pytest.raises(ValueError, match="frozen"):
        limits.in_flight = 0


@pytest.mark.parametrize("limit", ["in_flight", "queued", "delayed", "held_bytes", "weight"])
def test_one_is_the_least_limit(limit: str) -> None:
    assert getattr(TenantSettings(**{limit: 1}), limit) == 1
    with pytest.raises(ValueError, match=limit):
        TenantSettings(**{limit: 0})


def test_all_problems_of_tenants_are_told_at_once() -> None:
    tenants = {
        "a b": {"in_flight": 1},
        "empty": {},
        "acme": {"in_flight": 0, "weight": 101, "per_second": float("inf"), "max_priority": 10},
        "typo": {"inflight": 5},
    }
    with pytest.raises(SettingsError) as caught:
        given_settings(tenants=tenants)
    lines = str(caught.value).splitlines()
    assert {line.partition(": ")[0].partition(" = ")[0] for line in lines} == {
        "tenants.a b",
        "tenants.empty",
        "tenants.acme.in_flight",
        "tenants.acme.per_second",
        "tenants.acme.weight",
        "tenants.acme.max_priority",
        "tenants.typo.inflight",
    }
    assert "tenants.empty = {}: expected one of delayed, held_bytes, " in str(caught.value)
    assert "expected 1 to 64 of A-Z a-z 0-9 . _ -" in lines[0]
