"""Path templates: the grammar of google/api/http.proto, and the text of variables."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay_gateway.web.rest.path_template import (
    TemplateError,
    UndecodablePath,
    Variable,
    Wildcard,
    parse_template,
)

ONE, MANY = Wildcard.ONE, Wildcard.MANY


@pytest.mark.parametrize(
    ("text", "segments", "verb", "variables"),
    [
        ("/v1", ("v1",), "", {}),
        ("/v1/shelves", ("v1", "shelves"), "", {}),
        ("/v1/*", ("v1", ONE), "", {}),
        ("/v1/**", ("v1", MANY), "", {}),
        ("/**", (MANY,), "", {}),
        ("/v1/{name}", ("v1", ONE), "", {"name": (1, 2)}),
        ("/v1/{name=*}", ("v1", ONE), "", {"name": (1, 2)}),
        ("/v1/{name=**}", ("v1", MANY), "", {"name": (1, None)}),
        ("/v1/{name=shelves/*}", ("v1", "shelves", ONE), "", {"name": (1, 3)}),
        ("/v1/{name=shelves/**}", ("v1", "shelves", MANY), "", {"name": (1, None)}),
        ("/v1/{a.b_c.d}/x", ("v1", ONE, "x"), "", {"a.b_c.d": (1, 2)}),
        ("/v1/{a}/{b=x/*}", ("v1", ONE, "x", ONE), "", {"a": (1, 2), "b": (2, 4)}),
        ("/v1/books:list", ("v1", "books"), "list", {}),
        ("/v1/{name}:cancel", ("v1", ONE), "cancel", {"name": (1, 2)}),
        ("/v1/{name=**}:cancel", ("v1", MANY), "cancel", {"name": (1, None)}),
        ("/v1/{name=a:b/*}", ("v1", "a:b", ONE), "", {"name": (1, 3)}),
        ("/a:b/c", ("a:b", "c"), "", {}),
        ("/a%20b/é", ("a b", "é"), "", {}),
        ("/v1/{name=literal}", ("v1", "literal"), "", {"name": (1, 2)}),
        ("/~tilde/-._!$&'()+,;@", ("~tilde", "-._!$&'()+,;@"), "", {}),
    ],
)
def test_templates_of_the_grammar_are_read(
    text: str, segments: object, verb: str, variables: dict[str, tuple[int, int | None]]
) -> None:
    template = parse_template(text)
    assert template.segments == segments
    assert template.verb == verb
    assert template.variables == tuple(
        Variable(tuple(name.split(".")), *place) for name, place in variables.items()
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must begin with /"),
        ("v1", "must begin with /"),
        ("/", "the end at character 2; expected a segment"),
        ("/v1/", "the end at character 5; expected a segment"),
        ("/v1//x", "'/' at character 5; expected a segment"),
        ("/v1/**/x", "** before other segments"),
        ("/v1/{a=**}/x", "** before other segments"),
        ("/v1/{a={b}}", "a variable in a variable"),
        ("/v1/{a", "the end at character 7; expected }"),
        ("/v1/{a=", "the end at character 8; expected a segment"),
        ("/v1/{a=}", "'}' at character 8; expected a segment"),
        ("/v1/{}", "expected the name of a field"),
        ("/v1/{a.}", "expected the name of a field"),
        ("/v1/{1a}", "expected the name of a field"),
        ("/v1/{a-b}", "expected }"),
        ("/v1/a}", "'}' at character 6; expected / or the end"),
        ("/v1/a*", "'*' at character 6; expected / or the end"),
        ("/v1/***", "expected / or the end"),
        ("/v1/{a}b", "'b' at character 8; expected / or the end"),
        ("/v1/{a}/{a}", "the variable a twice"),
        ("/v1/x:", "the verb ''"),
        ("/v1/x:{a}", "'{'"),
        ("/v1/x:a*", "the verb 'a*'"),
        ("/v1/x?y=1", "'?' at character 6"),
        ("/v1/x#y", "'#'"),
        ("/v1/a b", "' '"),
        ("/v1/%ff", "not UTF-8"),
        ("/v1/" + "x" * 3000, "over 2048 characters"),
    ],
)
def test_other_texts_have_a_problem_that_names_the_place(text: str, problem: str) -> None:
    with pytest.raises(TemplateError) as raised:
        parse_template(text)
    assert problem in str(raised.value)


def test_a_variable_of_one_segment_is_decoded_whole() -> None:
    template = parse_template("/v1/{name}")
    assert template.values(["v1", "a%2Fb%20c+d"]) == {("name",): "a/b c+d"}


def test_a_variable_of_several_segments_keeps_encoded_slashes() -> None:
    template = parse_template("/v1/{name=shelves/**}")
    values = template.values(["v1", "shelves", "a%2Fb", "c%2fd%20e", ""])
    assert values == {("name",): "shelves/a%2Fb/c%2fd e/"}


def test_a_variable_may_take_no_segment() -> None:
    assert parse_template("/v1/{name=**}").values(["v1"]) == {("name",): ""}


def test_what_is_not_utf_8_when_decoded_is_refused() -> None:
    with pytest.raises(UndecodablePath):
        parse_template("/v1/{name}").values(["v1", "%ff"])


@given(st.text(min_size=1))
def test_any_text_survives_as_one_segment(text: str) -> None:
    raw = quote(text.encode("utf-8", "replace"), safe="-_.~")
    template = parse_template("/v1/{name}/x")
    expected = text.encode("utf-8", "replace").decode()
    assert template.values(["v1", raw, "x"]) == {("name",): expected}


@given(st.text(alphabet="ab/{}*=.:%2F ", max_size=20))
def test_parsing_never_fails_otherwise(text: str) -> None:
    try:
        template = parse_template(text)
    except TemplateError:
        return
    assert template.segments
