"""Methods as commands take them."""

from __future__ import annotations

import click
import pytest

from forebay.cli.method_names import find_method

ORDER, RETURN, OTHER = "shop.v1.Shop.Order", "shop.v1.Shop.Return", "bar.v1.Bar.Order"


@pytest.mark.parametrize("given", ["Return", RETURN, "shop.v1.Shop/Return"])
def test_a_method_is_found_by_each_form_of_its_name(given: str) -> None:
    assert find_method(given, [ORDER, RETURN, OTHER]) == RETURN


@pytest.mark.parametrize(
    ("given", "problem"),
    [("Order", "several methods have this name"), ("Eat", "no such method")],
)
def test_a_name_of_none_or_several_methods_is_refused_with_all_names(
    given: str, problem: str
) -> None:
    with pytest.raises(click.ClickException) as refused:
        find_method(given, [ORDER, OTHER])
    assert refused.value.message == f"{given}: {problem}; give one of: {ORDER}, {OTHER}"
