"""The reference pages are generated from the sources only."""

from __future__ import annotations

import re

import pytest

from docs.reference.__main__ import PAGES, filled
from docs.reference.protos import declared
from docs.reference.tables import TABLES
from forebay import errors, metadata
from forebay.v1 import errors_pb2, route_pb2

MADE = "# Page\n\n<!-- made: metadata -->\nstale\n<!-- end -->\n\nby hand\n"


def rows(markdown: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    lines = [line for line in markdown.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_a_generated_region_is_replaced_and_the_rest_stays() -> None:
    page = filled(MADE)
    assert "stale" not in page
    assert "`forebay-call-id`" in page
    assert page.startswith("# Page\n\n<!-- made: metadata -->\n")
    assert page.endswith("<!-- end -->\n\nby hand\n")
    assert filled(page) == page


def test_a_region_of_an_unknown_table_is_refused() -> None:
    with pytest.raises(KeyError, match="nothing"):
        filled(MADE.replace("metadata", "nothing"))


def test_every_table_is_on_a_page() -> None:
    text = "".join(page.read_text() for page in PAGES)
    assert set(re.findall(r"<!-- made: (\w+)", text)) == TABLES.keys()


def test_every_field_of_a_route_has_its_row() -> None:
    found = {
        one.name: [entry.name for entry in one.entries]
        for one in declared("forebay/v1/route.proto")
    }
    assert found["Route"] == [field.name for field in route_pb2.Route.DESCRIPTOR.fields]
    assert found["Limits"] == [field.name for field in route_pb2.Limits.DESCRIPTOR.fields]
    assert found["OnDisconnect"] == route_pb2.OnDisconnect.keys()


def test_everything_in_a_proto_that_is_shown_has_a_comment() -> None:
    for file in ("forebay/v1/route.proto", "forebay/v1/errors.proto", "forebay/v1/calls.proto"):
        for one in declared(file):
            assert one.comment.strip()
            assert [entry.name for entry in one.entries if not entry.comment.strip()] == []


def test_every_reason_has_a_class_and_documents_its_status() -> None:
    table = {
        reason.strip("`"): (status, python)
        for reason, status, _, python in rows(TABLES["reasons"]())
    }
    assert [f"ERROR_REASON_{reason}" for reason in table] == errors_pb2.ErrorReason.keys()[1:]
    for reason, (status, python) in table.items():
        assert python, reason
        for name in re.findall(r"\w+", python):
            assert status == "Any status" or getattr(errors, name)("").code_name in status, reason


def test_every_metadata_key_has_its_row() -> None:
    keys = {
        value for name, value in vars(metadata).items() if name.isupper() and isinstance(value, str)
    }
    table = rows(TABLES["metadata"]())
    assert {f"`{key}`" for key in keys} == {key for key, _, _ in table}
    assert {word for _, where, _ in table for word in re.findall(r"\w+", where)} <= {
        *("request", "initial", "trailing", "and"),
    }


def test_the_defaults_of_settings_are_as_one_would_set_them() -> None:
    defaults = {name: default for name, _, default, _ in rows(TABLES["settings"]())}
    assert defaults["`auth`"] == "none"
    assert defaults["`drain_s`"] == "`10.0`"
    assert not [name for name, default in defaults.items() if re.search(r"=\(|=None", default)]
