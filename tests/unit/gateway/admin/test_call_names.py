"""Names of operations, and the collections that a listing can have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import InvalidRequest
from forebay_backends.ledger.keys import CallKey
from forebay_gateway.admin.call_names import call_of, name_of, owner_of_collection

_IDS = st.from_regex(r"[A-Za-z0-9._:-]{1,128}", fullmatch=True)
_OWNERS = st.from_regex(r"[A-Za-z0-9._-]{0,64}", fullmatch=True)


@given(_IDS, _OWNERS, _OWNERS)
def test_a_name_and_a_call_map_to_each_other(call_id: str, owner: str, caller: str) -> None:
    call = CallKey(call_id, owner)
    assert call_of(name_of(call, caller), caller) == call


@pytest.mark.parametrize(
    ("owner", "caller", "name"),
    [
        ("", "", "operations/order:1842.total_x-1"),
        ("acme", "acme", "operations/order:1842.total_x-1"),
        ("acme", "ops", "tenants/acme/operations/order:1842.total_x-1"),
        ("acme", "", "tenants/acme/operations/order:1842.total_x-1"),
        ("", "ops", "tenants//operations/order:1842.total_x-1"),
    ],
)
def test_a_call_has_a_short_name_for_its_own_tenant_alone(
    owner: str, caller: str, name: str
) -> None:
    assert name_of(CallKey("order:1842.total_x-1", owner), caller) == name


def test_the_long_name_of_an_own_call_stands_for_the_same_call() -> None:
    assert call_of("tenants/acme/operations/x", "acme") == call_of("operations/x", "acme")


@pytest.mark.parametrize(
    "name",
    [
        *["", "x", "operations", "operations/", "operations/a/b", "ops/x"],
        *["operations/ü", "/operations/x", "operations/" + "x" * 129],
        *["tenants/acme/operations/", "tenants/a b/operations/x", "tenants/acme/calls/x"],
        *["tenants/operations/x", "tenants/" + "x" * 65 + "/operations/x"],
    ],
)
def test_an_invalid_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="expected operations/ID") as refused:
        call_of(name, "")
    assert refused.value.violations[0].field == "name"


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("", "own"),
        ("operations", "own"),
        ("tenants/acme/operations", "acme"),
        ("tenants//operations", ""),
        ("tenants/-/operations", None),
    ],
)
def test_a_listing_is_of_one_tenant_or_of_all(name: str, owner: str | None) -> None:
    assert owner_of_collection(name, "own") == owner


@pytest.mark.parametrize(
    "name", ["x", "tenants", "tenants/acme", "operations/x", "tenants/*/operations"]
)
def test_an_invalid_collection_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="expected 'operations'"):
        owner_of_collection(name, "own")
