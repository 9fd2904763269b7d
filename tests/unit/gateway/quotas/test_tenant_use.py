"""A gateway's share of a tenant's quotas: what it admits, reports and gives back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forebay_backends.ledger.operations.quotas import Shares, Tokens, Use
from forebay_backends.settings.tenant_settings import TenantSettings
from forebay_gateway.quotas.tenant_use import TIGHT_S, Limit, Share, TenantUse

NOW = 1000.0


def tenant(**limits: float) -> TenantUse:
    """A tenant at a gateway that has asked for nothing yet."""
    return TenantUse(TenantSettings.model_validate(limits))


def granted(
    in_flight: int = -1, *, tokens: int = 0, gateways: int = 1, is_tight: bool = False
) -> Shares:
    """The ledger's answer."""
    return Shares(gateways, is_tight, tokens, 0.0, (in_flight, -1, -1))


def test_what_has_no_limit_is_never_refused() -> None:
    use = tenant(weight=1)
    assert all(share.take(1 << 40) for share in use.shares.values())
    assert use.take_token()
    assert not use.has_spare


def test_a_gateway_admits_within_its_share_alone() -> None:
    use = tenant(in_flight=10)
    share = use.shares[Limit.IN_FLIGHT]
    assert not share.take(1)
    use.on_shares(granted(2), NOW)
    assert [share.take(1) for _ in range(3)] == [True, True, False]
    share.used -= 1
    assert share.take(1)


def test_it_reports_what_it_uses_and_what_its_callers_wait_for() -> None:
    use = tenant(in_flight=10, per_second=50)
    use.on_shares(granted(3, tokens=4), NOW)
    share = use.shares[Limit.IN_FLIGHT]
    assert share.take(2)
    share.waiting, use.tokens_waiting = 5, 1
    tokens, uses = use.report()
    assert tokens == Tokens(50.0, 50.0, needed=1, more=5, returned=4)
    assert uses == [Use(10, 2, 5), Use(None), Use(None)]
    assert use.tokens == 0


def test_use_beyond_the_share_is_reported_as_a_need() -> None:
    use = tenant(in_flight=10)
    use.on_shares(granted(2), NOW)
    use.shares[Limit.IN_FLIGHT].used = 3
    assert use.report()[1][0] == Use(10, 2, 1)


def test_nothing_is_kept_in_reserve_for_a_second_after_a_recall() -> None:
    use = tenant(in_flight=10)
    assert not use.may_be_tight
    use.on_recall(NOW)
    assert use.may_be_tight
    assert use.is_tight(NOW + TIGHT_S / 2)
    assert use.may_be_tight
    assert not use.is_tight(NOW + TIGHT_S)
    assert not use.may_be_tight
    use.on_shares(granted(2, is_tight=True), NOW + 5)
    assert use.may_be_tight
    assert use.is_tight(NOW + 5 + TIGHT_S / 2)


def test_a_larger_share_is_asked_for_before_it_is_used_up() -> None:
    use = tenant(in_flight=160)
    share = use.shares[Limit.IN_FLIGHT]
    use.on_shares(granted(20), NOW)
    assert share.take(10)
    assert not share.is_low
    assert share.take(1)
    assert share.is_low
    use.on_shares(granted(160), NOW)
    assert not share.is_low, "there is no more"


@given(
    st.none() | st.integers(1, 100), st.lists(st.tuples(st.integers(0, 100), st.integers(1, 30)))
)
def test_what_is_taken_easily_fits_and_leaves_the_share_large_enough(
    limit: int | None, steps: list[tuple[int, int]]
) -> None:
    share, thorough = Share(limit), Share(limit)
    for grant, amount in steps:
        for one in (share, thorough):
            one.used = 0
            one.grant(grant if limit is None else min(grant, limit))
        fits = thorough.take(amount)
        assert share.take_easily(amount) == (fits and not thorough.is_low)
        assert share.used == (thorough.used if fits and not thorough.is_low else 0)


def test_an_outage_leaves_a_gateway_its_share_or_an_equal_part() -> None:
    use = tenant(in_flight=9, per_second=10)
    use.on_shares(granted(1, gateways=2), NOW)
    use.on_outage(0, NOW + 1)
    share = use.shares[Limit.IN_FLIGHT]
    assert share.granted == 5
    assert [use.take_token() for _ in range(6)] == [True] * 5 + [False]
    use.on_outage(0, NOW + 1.1)
    assert not use.take_token()
    assert 0 < use.token_in_s(NOW + 1.1) <= 0.2
    use.on_outage(0, NOW + 1.2)
    assert use.take_token()
    use.on_shares(granted(9), NOW + 2)
    use.on_outage(0, NOW + 3)
    assert share.granted == 9


def test_a_tenant_that_uses_nothing_and_holds_nothing_can_be_forgotten() -> None:
    use = tenant(in_flight=9)
    assert use.is_idle
    assert not use.has_spare
    use.on_shares(granted(2), NOW)
    assert use.has_spare
    use.shares[Limit.IN_FLIGHT].take(1)
    assert not use.is_idle


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(-3, 3)), max_size=50))
def test_what_is_taken_never_exceeds_the_share(steps: list[tuple[int, int]]) -> None:
    use = tenant(in_flight=12)
    share = use.shares[Limit.IN_FLIGHT]
    for grant, amount in steps:
        use.on_shares(granted(max(grant, share.used)), NOW)
        if amount > 0:
            before = share.used
            assert share.take(amount) == (before + amount <= share.granted)
        elif share.used + amount >= 0:
            share.used += amount
        assert 0 <= share.used <= share.granted <= 12


def test_an_outage_before_the_first_answer_leaves_a_gateway_the_whole_limit() -> None:
    use = tenant(in_flight=9)
    use.on_outage(0, NOW)
    assert use.shares[Limit.IN_FLIGHT].granted == 9


def test_tokens_that_were_given_back_in_vain_are_kept() -> None:
    use = tenant(per_second=1)
    use.on_shares(granted(tokens=5), NOW)
    tokens, _ = use.report()
    use.on_outage(tokens.returned, NOW)
    assert [use.take_token() for _ in range(6)] == [True] * 5 + [False]
