"""Which template matches a path."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay_gateway.web.rest.path_index import PathIndex
from forebay_gateway.web.rest.path_template import UndecodablePath, Wildcard, parse_template

TEMPLATES = (
    "/v1/books",
    "/v1/books/new",
    "/v1/books/{id}",
    "/v1/{name=**}",
    "/v1/books/{id}:cancel",
    "/v1/books:list",
    "/v1/{kind}/new",
    "/v1/*/*/pages",
    "/v1/books/a%20b",
    "/v2/{name=shelves/*}",
    "/v3/{name=**}:close",
)


def index(*templates: str) -> PathIndex[str]:
    made: PathIndex[str] = PathIndex()
    for text in templates:
        made.setdefault(parse_template(text), text)
    return made


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/v1/books", ["/v1/books", "/v1/{name=**}"]),
        ("/v1/books/new", ["/v1/books/new", "/v1/books/{id}", "/v1/{kind}/new", "/v1/{name=**}"]),
        ("/v1/books/7", ["/v1/books/{id}", "/v1/{name=**}"]),
        ("/v1/films/new", ["/v1/{kind}/new", "/v1/{name=**}"]),
        ("/v1", ["/v1/{name=**}"]),
        ("/v1/", ["/v1/{name=**}"]),
        ("/v1/books/", ["/v1/{name=**}"]),
        ("/v1//new", ["/v1/{name=**}"]),
        ("/v1/a/b/pages", ["/v1/*/*/pages", "/v1/{name=**}"]),
        ("/v1/books/7:cancel", ["/v1/books/{id}:cancel", "/v1/books/{id}", "/v1/{name=**}"]),
        ("/v1/books/a:b:cancel", ["/v1/books/{id}:cancel", "/v1/books/{id}", "/v1/{name=**}"]),
        ("/v1/books/7:other", ["/v1/books/{id}", "/v1/{name=**}"]),
        ("/v1/books/7%3Acancel", ["/v1/books/{id}", "/v1/{name=**}"]),
        ("/v1/books/cancel", ["/v1/books/{id}", "/v1/{name=**}"]),
        ("/v1/books/:cancel", ["/v1/books/{id}", "/v1/{name=**}"]),
        ("/v1/books:list", ["/v1/books:list", "/v1/{name=**}"]),
        ("/v1/books/a%20b", ["/v1/books/a%20b", "/v1/books/{id}", "/v1/{name=**}"]),
        ("/v1/%62ooks", ["/v1/books", "/v1/{name=**}"]),
        ("/v2/shelves/1", ["/v2/{name=shelves/*}"]),
        ("/v2/shelves/1/", []),
        ("/v3/a:close", ["/v3/{name=**}:close"]),
        ("/v3/close", []),
        ("/v2/shelves", []),
        ("/v3", []),
        ("/", []),
        ("", []),
        ("*", []),
    ],
)
def test_the_most_specific_template_comes_first(path: str, found: list[str]) -> None:
    assert [text for _, text in index(*TEMPLATES).find(path)] == found


def test_the_segments_come_without_the_verb() -> None:
    found = next(index("/v1/books/{id}:cancel").find("/v1/books/a%3Ab:cancel"))
    assert found == (["v1", "books", "a%3Ab"], "/v1/books/{id}:cancel")


def test_templates_of_one_shape_share_their_value() -> None:
    made = index("/v1/{a}/x")
    assert made.setdefault(parse_template("/v1/{b}/x"), "other") == "/v1/{a}/x"


def test_a_path_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(UndecodablePath):
        list(index("/v1/{a}").find("/v1/%ff"))


def test_a_path_has_up_to_256_segments() -> None:
    assert len(list(index("/**").find("/x" * 256))) == 1
    assert list(index("/**").find("/x" * 257)) == []


SEGMENT = st.sampled_from(["a", "b", "", "x%20y"])
LITERAL = st.sampled_from(["a", "b", "x%20y"])


@st.composite
def templates(draw: st.DrawFn) -> str:
    parts = draw(st.lists(st.one_of(LITERAL, st.just("*")), min_size=1, max_size=4))
    if draw(st.booleans()):
        parts.append("**")
    return "/" + "/".join(parts)


def matches(template: str, path: str) -> bool:
    """The definition, without an index."""
    wanted, given_ = parse_template(template).segments, path[1:].split("/")
    if wanted[-1] is Wildcard.MANY:
        wanted = wanted[:-1]
        if len(given_) < len(wanted):
            return False
        given_ = given_[: len(wanted)]
    return len(wanted) == len(given_) and all(
        (got != "") if want is Wildcard.ONE else unquote(got) == want
        for want, got in zip(wanted, given_, strict=True)
    )


@given(st.lists(templates(), max_size=8, unique=True), st.lists(SEGMENT, min_size=1, max_size=5))
def test_exactly_the_templates_that_match_are_found(texts: list[str], path: list[str]) -> None:
    raw = "/" + "/".join(path)
    found = [text for _, text in index(*texts).find(raw)]
    assert sorted(found) == sorted(text for text in texts if matches(text, raw))
