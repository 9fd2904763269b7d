"""Numbers at the limits of their types are taken, those beyond them are refused."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from forebay.routes.fields import fill, suggestion
from forebay.v1 import route_pb2


@pytest.mark.parametrize(
    ("message", "name", "least", "most"),
    [
        (route_pb2.Route(), "priority", 0, (1 << 32) - 1),
        (route_pb2.Limits(), "item_bytes", 0, (1 << 64) - 1),
        (Duration(), "seconds", -(1 << 63), (1 << 63) - 1),
        (Duration(), "nanos", -(1 << 31), (1 << 31) - 1),
    ],
)
def test_a_number_is_within_its_type(message: Message, name: str, least: int, most: int) -> None:
    for value in (least, most):
        assert list(fill(message, {name: value})) == []
        assert getattr(message, name) == value
    for value in (least - 1, most + 1):
        expected = [f"`x.{name}` is {value}; expected {least} to {most}"]
        assert list(fill(message, {name: value}, "x.")) == expected
        assert getattr(message, name) == most  # as it was


def test_what_fits_is_set_though_something_else_does_not() -> None:
    route = route_pb2.Route()
    table: dict[str, Any] = {
        "task": "t",
        "limits": {"attempts": 2, "queue_wait": "soon", "run_time": {"seconds": 9}},
        "metadata": ["a", 1, "b"],
        "plain": {"exceptions": [{"type": "E", "status": 5}, 7]},
    }
    assert list(fill(route, table)) == [
        '`limits.queue_wait` is \'soon\'; expected a duration, such as "60s" or "1.5s"',
        "`metadata[1]` is 1; expected a text",
        "`plain.exceptions[0].status` is 5; expected a text",
        "`plain.exceptions[1]` is 7; expected a table",
    ]
    assert (route.task, route.limits.attempts, list(route.metadata)) == ("t", 2, ["a", "b"])
    assert route.limits.run_time.seconds == 9
    assert route.plain.exceptions[0].type == "E"


def test_an_empty_table_is_there() -> None:
    route = route_pb2.Route()
    assert list(fill(route, {"plain": {}})) == []
    assert route.HasField("plain")
    assert not route.HasField("limits")


@pytest.mark.parametrize(
    ("name", "names", "expected"),
    [
        ("tsk", ["queue", "task"], "; did you mean `task`?"),
        ("B", ["A_A", "A_B", "C_B"], "; did you mean `A_B`?"),
        ("xyz", ["queue", "task"], ""),
        (5, ["queue"], ""),
        ("x", [], ""),
    ],
)
def test_a_similar_name_is_suggested(name: object, names: list[str], expected: str) -> None:
    assert suggestion(name, iter(names)) == expected
