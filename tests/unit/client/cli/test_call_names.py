"""Ids of calls as commands show and take them."""

from __future__ import annotations

import click
import pytest

from forebay.cli.call_names import OWN, Tenants, shown_id, starts_with

ACME = Tenants("acme")
ALL = Tenants(all_tenants=True)


@pytest.mark.parametrize(
    ("tenants", "given", "name"),
    [
        (OWN, "x", "operations/x"),
        (OWN, "operations/x", "operations/x"),
        (OWN, "acme/x", "tenants/acme/operations/x"),
        (OWN, "/x", "tenants//operations/x"),
        (OWN, "tenants/acme/operations/x", "tenants/acme/operations/x"),
        (ACME, "x", "tenants/acme/operations/x"),
        (ACME, "umbrella/x", "tenants/umbrella/operations/x"),
        (ACME, "operations/x", "operations/x"),
    ],
)
def test_an_argument_stands_for_one_operation(tenants: Tenants, given: str, name: str) -> None:
    assert tenants.name_of(given) == name


@pytest.mark.parametrize("given", ["x", "acme/x", "/x"])
def test_what_is_shown_of_a_call_can_be_given_as_an_argument(given: str) -> None:
    assert shown_id(OWN.name_of(given)) == given


def test_a_listing_is_of_the_callers_tenant_of_another_or_of_all() -> None:
    assert OWN.collection == "operations"
    assert ACME.collection == "tenants/acme/operations"
    assert ALL.collection == "tenants/-/operations"
    with pytest.raises(click.UsageError, match="exclude each other"):
        Tenants("acme", all_tenants=True)


@pytest.mark.parametrize(
    ("tenants", "names"),
    [
        (OWN, {"operations/x"}),
        (ACME, {"operations/x", "tenants/acme/operations/x"}),
        (ALL, {"operations/x", "tenants/acme/operations/x", "tenants/other/operations/x"}),
    ],
)
def test_running_calls_are_those_of_the_listing(tenants: Tenants, names: set[str]) -> None:
    all_names = ["operations/x", "tenants/acme/operations/x", "tenants/other/operations/x"]
    assert {name for name in all_names if tenants.may_have(name)} == names


def test_the_start_of_an_id_is_compared_with_ids_alone() -> None:
    assert starts_with("tenants/acme/operations/0193", "tenants/acme/operations/01")
    assert not starts_with("tenants/01/operations/x", "tenants/01/operations/01")
