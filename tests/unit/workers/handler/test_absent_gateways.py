"""For how long replies wait for a gateway that does not listen."""

from __future__ import annotations

from forebay_workers.handler.absent_gateways import PATIENCE_S, AbsentGateways

NOW = 1000.0


def test_the_first_replies_wait_for_a_gateway_and_later_ones_do_not() -> None:
    absent = AbsentGateways()
    assert absent.may_return("gateway", NOW)
    assert absent.may_return("gateway", NOW + PATIENCE_S - 0.1)
    assert not absent.may_return("gateway", NOW + PATIENCE_S)
    assert not absent.may_return("gateway", NOW + 100 * PATIENCE_S)
    assert absent.may_return("other", NOW + 100 * PATIENCE_S)


def test_replies_wait_again_for_a_gateway_that_was_back() -> None:
    absent = AbsentGateways()
    assert absent.may_return("gateway", NOW)
    absent.reached("gateway")
    assert absent.may_return("gateway", NOW + 2 * PATIENCE_S)


def test_the_oldest_of_very_many_is_forgotten() -> None:
    absent = AbsentGateways()
    for number in range(1001):
        assert absent.may_return(f"gateway-{number}", NOW)
    assert not absent.may_return("gateway-1", NOW + PATIENCE_S)
    assert absent.may_return("gateway-0", NOW + PATIENCE_S)
