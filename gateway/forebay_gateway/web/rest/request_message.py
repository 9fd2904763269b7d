"""Makes the request of a method from an HTTP request. Pure.

For example, `PATCH /v1/books/7?validate_only=true` with a body, for the rule
`patch: "/v1/books/{book.id}" body: "book"`: the body is parsed into `book`, then the path sets
`book.id`, and the query sets `validate_only`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from google.protobuf import json_format, message_factory
from google.protobuf.message import Message

from forebay.errors import FieldViolation, InvalidRequest
from forebay_gateway.web.rest.bindings import Binding
from forebay_gateway.web.rest.field_paths import FieldPath, FieldPathError, is_text, resolve
from forebay_gateway.web.rest.field_values import FieldValueError, set_texts
from forebay_gateway.web.rest.path_template import UndecodablePath

MAX_PARAMETERS = 1000
MAX_JSON_DEPTH = 100

Query = Mapping[str, Sequence[str]]


def parse_query(raw: bytes) -> dict[str, list[str]]:
    """The parameters of a query string, each with its values in order; raises InvalidRequest."""
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_PARAMETERS,
        )
    except UnicodeDecodeError as error:
        raise InvalidRequest("the query is not UTF-8 after percent-decoding") from error
    except ValueError as error:
        raise InvalidRequest(f"the query has over {MAX_PARAMETERS} parameters") from error
    query: dict[str, list[str]] = {}
    for name, value in pairs:
        query.setdefault(name, []).append(value)
    return query


def request_message(
    binding: Binding, raw_segments: Sequence[str], query: Query, body: bytes
) -> Message:
    """The request; raises InvalidRequest, which names each field that can't be set."""
    request = message_factory.GetMessageClass(binding.rpc.input_type)()
    if binding.body:
        parse_body(request, binding.body, body)
    elif body:
        raise InvalidRequest("the request has a body; this path takes none")
    violations = [
        *_set_path(request, binding, raw_segments),
        *_set_query(request, binding, query),
    ]
    _raise_if_any(violations)
    return request


def parse_json(request: Message, text: bytes) -> None:
    """Parses JSON into the message; raises InvalidRequest."""
    pool: Any = request.DESCRIPTOR.file.pool
    try:
        json_format.Parse(text, request, descriptor_pool=pool, max_recursion_depth=MAX_JSON_DEPTH)
    except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not valid: {_shortened(error)}") from error


def parse_body(request: Message, name: str, body: bytes) -> None:
    """Parses a body into the field of that name, or into the whole request if it is `*`."""
    field = None if name == "*" else request.DESCRIPTOR.fields_by_name[name]
    if field is None:
        parse_json(request, body or b"{}")
        return
    if field.message_type is not None and not field.is_repeated:
        inner: Message = getattr(request, name)
        inner.SetInParent()
        parse_json(inner, body or b"{}")
        return
    try:
        value = json.loads(body)
        pool: Any = request.DESCRIPTOR.file.pool
        json_format.ParseDict(
            {name: value}, request, descriptor_pool=pool, max_recursion_depth=MAX_JSON_DEPTH
        )
    except (ValueError, json_format.ParseError, RecursionError) as error:
        raise InvalidRequest(
            f"the body is not a valid {name}: {_shortened(error)}",
            violations=(FieldViolation(name, "is not valid JSON of the field's type"),),
        ) from error


def _set_path(
    request: Message, binding: Binding, raw_segments: Sequence[str]
) -> Iterator[FieldViolation]:
    try:
        values = binding.template.values(raw_segments)
    except UndecodablePath as error:
        raise InvalidRequest(str(error)) from error
    for names, text in values.items():
        fields = resolve(binding.rpc.input_type, names)
        yield from _set(request, ".".join(names), fields, [text])


def _set_query(request: Message, binding: Binding, query: Query) -> Iterator[FieldViolation]:
    seen: set[tuple[str, ...]] = set()
    for name, texts in query.items():
        try:
            fields = _parameter(request, binding, name)
        except FieldPathError as error:
            yield FieldViolation(name, str(error))
            continue
        names = tuple(field.name for field in fields)
        if names in seen:
            yield FieldViolation(name, "is given by its other name, too; expected once")
        else:
            seen.add(names)
            yield from _set(request, name, fields, texts)


def _parameter(request: Message, binding: Binding, name: str) -> FieldPath:
    """The field that a query parameter sets; raises FieldPathError."""
    if binding.body == "*":
        raise FieldPathError("is a query parameter; this path takes a body instead")
    try:
        fields = resolve(binding.rpc.input_type, name.split("."), json_names=True)
    except FieldPathError as error:
        raise FieldPathError(f"is not a parameter: {error}") from error
    names = tuple(field.name for field in fields)
    if names in binding.path_fields or names[0] == binding.body:
        raise FieldPathError("is in the path or in the body, and can't be in the query")
    if not is_text(fields[-1]):
        raise FieldPathError("is a message; give its fields, as in a.b=1")
    return fields


def _set(
    request: Message, name: str, fields: FieldPath, texts: Sequence[str]
) -> Iterator[FieldViolation]:
    try:
        set_texts(request, fields, texts)
    except FieldValueError as error:
        yield FieldViolation(name, str(error))


def _raise_if_any(violations: Sequence[FieldViolation]) -> None:
    if violations:
        first = violations[0]
        raise InvalidRequest(f"{first.field} {first.description}", violations=tuple(violations))


def _shortened(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return f"it has over {MAX_JSON_DEPTH} levels"
    return str(error)[:500]
