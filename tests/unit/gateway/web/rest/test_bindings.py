"""Bindings of `google.api.http`, and what is wrong with some."""

from __future__ import annotations

import pytest

from forebay.compute.v1 import compute_pb2
from forebay_gateway.web.rest.bindings import (
    Binding,
    conflicts,
    has_no_side_effects,
    read_bindings,
)
from tests.unit.gateway.web.rest.library import bindings, bindings_of_rule, library, rpc


def told(binding: Binding) -> tuple[str, str, str, str]:
    return binding.http_method, binding.template.text, binding.body, binding.response_body


def test_a_rule_and_its_additional_bindings_are_read() -> None:
    assert list(map(told, bindings("GetBook"))) == [
        ("GET", "/v1/{name=shelves/*/books/*}", "", ""),
        ("GET", "/v1/books/{name}", "", ""),
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ListBooks", ("GET", "/v1/{parent=shelves/*}/books", "", "books")),
        ("UpdateBook", ("PATCH", "/v1/{book.name=shelves/*/books/*}", "book", "")),
        ("CreateBook", ("POST", "/v1/{name=shelves/**}", "*", "")),
        ("DeleteBook", ("DELETE", "/v1/{name=shelves/*/books/*}", "", "")),
        ("LockBook", ("LOCK", "/v1/{name=shelves/*/books/*}", "", "")),
    ],
)
def test_each_kind_of_rule_is_read(name: str, expected: tuple[str, str, str, str]) -> None:
    assert told(bindings(name)[0]) == expected


def test_a_method_without_a_rule_has_no_binding() -> None:
    assert bindings("Unbound") == ()


def test_options_of_compiled_modules_are_read_as_those_of_descriptor_sets() -> None:
    service = compute_pb2.DESCRIPTOR.services_by_name["ComputeService"]
    found = [
        told(binding)
        for method in service.methods
        for binding in read_bindings(method, may_get=has_no_side_effects(method)).bindings
    ]
    assert found == [
        ("POST", "/v1/add", "*", ""),
        ("GET", "/v1/add", "", ""),
        ("GET", "/v1/factorial/{n}", "", ""),
        ("POST", "/v1/factorial", "*", ""),
        ("POST", "/v1/matmul", "*", ""),
    ]


READS = "option idempotency_level = NO_SIDE_EFFECTS;"


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("", "has no path"),
        ('post: "v1"', "has the path 'v1', which must begin with /"),
        ('get: "/v1/x"', "lets GET call a method that may have side effects"),
        ('custom: {kind: "HEAD" path: "/v1/x"}', "lets HEAD call a method that may have"),
        ('custom: {kind: "*" path: "/v1/x"}', "lets any HTTP method call a method that may have"),
        ('custom: {kind: "OPTIONS" path: "/v1/x"}', "has the HTTP method 'OPTIONS'"),
        ('custom: {kind: "TRACE" path: "/v1/x"}', "has the HTTP method 'TRACE'"),
        ('custom: {kind: "lock" path: "/v1/x"}', "has the HTTP method 'lock'"),
        ('custom: {kind: "A B" path: "/v1/x"}', "has the HTTP method 'A B'"),
        ('custom: {kind: "" path: "/v1/x"}', "has the HTTP method ''"),
        ('post: "/v1/{nothing}"', "has the variable nothing, but library.v1.Everything has no"),
        ('post: "/v1/{author.nothing}"', "but library.v1.Author has no field 'nothing'"),
        ('post: "/v1/{genre.x}"', "but genre is not a single message"),
        ('post: "/v1/{authors.given_name}"', "but authors is not a single message"),
        ('post: "/v1/{numbers}"', "has the variable numbers, which is repeated or a message"),
        ('post: "/v1/{counts}"', "has the variable counts, which is repeated or a message"),
        ('post: "/v1/{author}"', "has the variable author, which is repeated or a message"),
        ('post: "/v1/{data}"', "has the variable data, which is repeated or a message"),
        ('post: "/v1/{maybe}" body: "maybe"', "has the field maybe in the path and as `body`"),
        (
            'post: "/v1/x" body: "wordz"',
            "not a field of library.v1.Everything; did you mean `words`?",
        ),
        ('post: "/v1/x" body: "author.given_name"', "has the `body` 'author.given_name'"),
        ('post: "/v1/x" response_body: "nothing"', "has the `response_body` 'nothing'"),
        (
            'post: "/v1/x" additional_bindings {post: "/v1/y" additional_bindings {post: "/z"}}',
            "`additional_bindings[0]` has `additional_bindings` of its own",
        ),
        (
            'post: "/v1/x" additional_bindings {post: "/v1/y"} additional_bindings {}',
            "`additional_bindings[1]` has no path",
        ),
    ],
)
def test_a_bad_rule_has_a_problem(rule: str, problem: str) -> None:
    (found,) = bindings_of_rule(rule).problems
    assert problem in found


def test_a_get_has_no_body() -> None:
    (found,) = bindings_of_rule('get: "/v1/x" body: "*"', options=READS).problems
    assert "has a `body`, which GET does not have; remove it" in found


@pytest.mark.parametrize(
    "bad", ['{post: "v1"}', '{post: "/v1/y" additional_bindings {post: "/v1/z"}}']
)
def test_the_other_bindings_of_a_method_stay_usable(bad: str) -> None:
    read = bindings_of_rule(f'post: "/v1/x" additional_bindings {bad}')
    assert [binding.template.text for binding in read.bindings] == ["/v1/x"]
    assert len(read.problems) == 1


def test_a_method_has_a_limited_number_of_bindings() -> None:
    more = " ".join(f'additional_bindings {{post: "/v1/x/{n}"}}' for n in range(200))
    read = bindings_of_rule(f'post: "/v1/x" {more}')
    assert "over 100 bindings" in read.problems[0]
    assert len(read.bindings) == 100


def test_get_is_allowed_where_the_idempotency_level_is_given_elsewhere() -> None:
    method = rpc("CreateBook")
    no_side_effects = method.GetOptions().NO_SIDE_EFFECTS
    assert not has_no_side_effects(method)
    assert has_no_side_effects(method, no_side_effects)


def all_bindings() -> list[Binding]:
    names = library().services_by_name["Library"].methods_by_name
    return [binding for name in names for binding in bindings(name)]


def test_templates_that_differ_do_not_conflict() -> None:
    assert [*conflicts(all_bindings())] == []


def test_two_bindings_of_one_method_and_shape_conflict() -> None:
    read = bindings_of_rule(
        'post: "/v1/{an_int32}/x" additional_bindings {post: "/v1/{an_int64}/x"}'
    )
    (problem,) = conflicts(read.bindings)
    assert "POST /v1/{an_int64}/x, which matches the paths of /v1/{an_int32}/x" in problem


def test_any_method_conflicts_with_the_same_method_only_when_it_comes_first() -> None:
    any_first = bindings_of_rule(
        'custom: {kind: "*" path: "/v1/x"} additional_bindings {post: "/v1/x"}', options=READS
    )
    assert [*conflicts(any_first.bindings)]
    exact_first = bindings_of_rule(
        'post: "/v1/x" additional_bindings {custom: {kind: "*" path: "/v1/x"}}', options=READS
    )
    assert [*conflicts(exact_first.bindings)] == []


def test_a_path_of_the_gateways_own_is_taken() -> None:
    read = bindings_of_rule('post: "/openapi.json"')
    (problem,) = conflicts(read.bindings, ["/openapi.json"])
    assert "/openapi.json, which the gateway itself serves" in problem


def test_a_method_may_have_its_own_path_as_a_template() -> None:
    read = bindings_of_rule('post: "/library.v1.Tested/Do"')
    assert [*conflicts(read.bindings, ["/library.v1.Tested/Do"])] == []
