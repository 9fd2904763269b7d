"""The tasks: each returns what it received, or says what it was.

`celery -A tests.imported.app worker -Q imported,reports` runs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, Optional, TypeVar
from uuid import UUID

from celery import Celery, Task, shared_task

from tests.imported.models import (
    Category,
    Colour,
    Customer,
    Item,
    Mode,
    Names,
    Options,
    Order,
    Point,
    Urgency,
)

if TYPE_CHECKING:
    from pathlib import PurePath as Missing

T = TypeVar("T")

print("the application talks while it is loaded")  # noqa: T201 - to standard output

app = Celery("imported")
app.conf.update(
    broker_url=os.environ.get("IMPORTED_BROKER_URL", "memory://"),
    result_backend=os.environ.get("IMPORTED_RESULT_BACKEND", "rpc://"),
    broker_connection_retry_on_startup=True,
    task_default_queue="imported",
    task_routes={"shop.reports.*": {"queue": "reports"}},
)


def logged(function: Callable[..., T]) -> Callable[..., T]:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> T:
        return function(*args, **kwargs)

    return wrapper


def kinds(*values: object) -> list[str]:
    return [type(value).__name__ for value in values]


@app.task(name="shop.scalars")
def scalars(
    number: int, real: float, text: str, data: bytes, flag: bool, count: int = 7
) -> list[str]:
    """Says what came.

    A second paragraph; */ and // harm nothing.
    """
    assert (number, real, text, data, flag) == (-5, 0.5, "é\n", b"\xff", True)
    return [*kinds(number, real, text, data, flag), str(count)]


@app.task(name="shop.moments")
def moments(
    at: datetime, day: date, hour: time, lasting: timedelta, amount: Decimal, key: UUID
) -> tuple[datetime, date, time, float, Decimal, UUID]:
    assert kinds(at, day, hour, amount, key) == ["datetime", "date", "time", "Decimal", "UUID"]
    return at, day, hour, float(lasting), amount, key  # type: ignore[arg-type]


@app.task(name="shop.colour")
def colour(one: Colour, urgency: Urgency = Urgency.LOW, mode: Mode = "fast") -> Colour:
    assert (one, urgency, mode) == ("dark blue", 20, "slow"), (one, urgency, mode)
    return Colour(one).value  # type: ignore[return-value]


@app.task(name="shop.collections")
def collections(
    names: Names,
    matrix: list[list[float]],
    by_name: dict[str, list[int]],
    amounts: Mapping[str, Decimal],
    pair: tuple[int, str],
    anything: dict[str, Any],
    extra: Optional[list[str]] = None,  # noqa: UP045 - as older code has it
) -> dict[str, list[int]]:
    assert names == ["a", "b"]
    assert matrix == [[1.0, 2.0], []]
    assert amounts == {"a": Decimal("0.10")}
    assert pair == [5, "five"]
    assert anything == {"deep": [1, None]}
    assert extra is None
    return by_name


@app.task(name="shop.order")
def order(order: Order, point: Point, options: Options, note: str | None) -> Order:
    assert isinstance(order, dict)
    assert order["items"][0] == {"sku": "b", "price": Decimal("1.50")}
    assert asdict(Item(**order["items"][1])) == {"sku": "a", "quantity": 3, "price": None}
    assert (point, options, note) == ([1.0, 2.0, None], {"fast": True}, None)
    return order


@app.task(name="shop.tree")
def tree(root: Category) -> Category:
    return root


@app.task(name="shop.customer", pydantic=True)
def customer(customer: Customer) -> Customer:
    """Needs pydantic."""
    assert customer.user_id == 12
    assert customer.place == Point(1.0, 2.0)
    assert customer.patience == timedelta(seconds=90)
    assert customer.tags == {"new"}
    assert customer.urgency is None
    return customer


@app.task(name="shop.variadic", bind=True)
def variadic(
    self: Task[Any, Any], first: int, /, second: int = 2, *args: int, only: bool, **kwargs: str
) -> list[Any]:
    assert self.name == "shop.variadic"
    return [first, second, list(args), only, kwargs]


@app.task(name="shop.reports.sync", ignore_result=True)
@logged
def sync_reports(limit: int | None = None) -> int | None:
    return limit


@shared_task(name="shop.stock.sync", queue="imported", autoretry_for=(KeyError,))
@logged
def sync_stock(from_: str, maxItems: int, größe: float = 1.0) -> str:  # noqa: N803
    return f"{from_} {maxItems} {größe}"


@app.task(name="shop.Odd name! (2nd)")
def odd(message, option=3, unresolved: Missing | None = None, either: int | str = 0):  # type: ignore[no-untyped-def]
    return [message, option, unresolved, either]


@app.task(name="shop.nothing")
def nothing() -> None:
    pass


class Page(Generic[T]):
    """No type in protobuf."""


class Archive(app.Task):  # type: ignore[misc, name-defined]
    """A task as a class."""

    name = "shop.archive"

    def run(self, days: int, page: Page[int] | None = None) -> bool:
        return days > 1


app.register_task(Archive())
