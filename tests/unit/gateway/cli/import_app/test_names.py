"""`forebay import`: names for protobuf from those of Python."""

from __future__ import annotations

import pytest

from forebay_gateway.cli.import_app.names import camel_case, distinct, numbered, snake_case


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("place_order", "PlaceOrder"),
        ("placeOrder", "PlaceOrder"),
        ("HTTPError", "HTTPError"),
        ("send email! (2nd)", "SendEmail2nd"),
        ("2fa", "Task2fa"),
        ("größe", "Groe"),
        ("проверка", "Task"),
        ("", "Task"),
        ("None", "NoneTask"),
    ],
)
def test_camel_case(name: str, expected: str) -> None:
    assert camel_case(name, "Task") == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("maxItems", "max_items"),
        ("HTTPPort", "http_port"),
        ("from_", "from"),
        ("__x", "x"),
        ("a-b c", "a_b_c"),
        ("größe", "groe"),
        ("名", "field"),
        ("_1", "field_1"),
    ],
)
def test_snake_case(name: str, expected: str) -> None:
    assert snake_case(name, "field") == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["shop.tasks.sync", "shop.tasks.ship"], ["Sync", "Ship"]),
        (["shop.tasks.sync", "stock.tasks.sync"], ["ShopTasksSync", "StockTasksSync"]),
        (["shop.sync", "stock.sync", "stock.ship"], ["ShopSync", "StockSync", "Ship"]),
        (["sync", "stock.sync"], ["Sync", "StockSync"]),
        (["a.sync_it", "a.syncIt", "a.sync-it"], ["ASyncIt", "ASyncIt2", "ASyncIt3"]),
        (["shop.taken"], ["ShopTaken"]),
        (["taken"], ["Taken2"]),
    ],
)
def test_names_that_clash_get_more_of_their_path(names: list[str], expected: list[str]) -> None:
    parts = [tuple(name.split(".")) for name in names]
    assert distinct(parts, "Task", reserved=["Taken"]) == expected


def test_names_that_differ_in_case_or_underscores_only_get_a_number() -> None:
    names = ["foo_bar", "fooBar", "foo_1", "foo1", "foo"]
    assert numbered(names, set()) == ["foo_bar", "fooBar2", "foo_1", "foo1_2", "foo"]
