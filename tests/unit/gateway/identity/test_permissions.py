"""Permissions, the patterns that grant them, and the problems of roles."""

from __future__ import annotations

import pytest

from forebay_gateway.identity.permissions import Roles, covers, role_problems

SERVED = ("reports.render", "shop.v1.Orders.Place", "shop.v1.Orders.Cancel")


@pytest.mark.parametrize(
    ("pattern", "permission", "granted"),
    [
        ("reports.render", "reports.render", True),
        ("reports.render", "reports.renderer", False),
        ("reports.render", "reports", False),
        ("reports.*", "reports.render", True),
        ("reports.*", "reports.pdf.render", True),
        ("reports.*", "reports", False),
        ("reports.*", "reportsx.render", False),
        ("reports.re*", "reports.render", True),
        ("*", "forebay.calls.cancel", True),
        ("", "reports.render", False),
        ("Reports.render", "reports.render", False),
    ],
)
def test_a_pattern_grants_what_it_names_or_begins(
    pattern: str, permission: str, granted: bool
) -> None:
    assert covers(pattern, permission) is granted


def test_any_of_the_roles_is_enough_and_unknown_ones_grant_nothing() -> None:
    roles = Roles({"caller": ["shop.v1.*"], "renderer": ["reports.render"]})
    assert roles.grants(("openid", "renderer"), "reports.render")
    assert not roles.grants(("caller",), "reports.render")
    assert not roles.grants(("openid", "*", "reports.render"), "reports.render")
    assert not roles.grants((), "reports.render")


def test_the_patterns_of_several_roles_come_once_and_in_order() -> None:
    roles = Roles({"a": ["z.*", "b"], "c": ["b", "a"]})
    assert roles.patterns_of(("c", "a", "unknown")) == ("a", "b", "z.*")


def test_fit_roles_have_no_problems() -> None:
    roles = {"caller": ["shop.v1.*", "reports.render"], "operator": ["forebay.calls.*", "*"]}
    assert list(role_problems(roles, SERVED, {"auth.spiffe": ["caller", "operator"]})) == []


def test_all_problems_of_roles_are_found_at_once() -> None:
    roles = {"caller": ["shop.v2.*", "shop.v1.Orders.Place"], "odd": ["shop.*.Orders", "report"]}
    problems = list(role_problems(roles, SERVED, {"keys.toml": ["caller", "boss"]}))
    assert [line.partition(":")[0] for line in problems] == [
        "roles.caller",
        "roles.odd",
        "roles.odd",
        "keys.toml",
    ]
    assert "'shop.v2.*'" in problems[0]
    assert "before its end" in problems[1]
    assert "'report'" in problems[2]
    assert "'boss'" in problems[3]
    assert "caller, odd" in problems[3]
