"""The messages and the metadata of a call, from the arguments of `forebay call`."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

import click
from google.protobuf import json_format
from google.protobuf.message import Message

from forebay.metadata import (
    CALL_ID,
    ON_DISCONNECT,
    PRIORITY,
    RESUME_FROM,
    START_AFTER,
    START_AT,
    TRACEPARENT,
    trace_parts,
)
from forebay.routes import Method

# The end of json_format's message about an unknown field.
_FIELDS = re.compile(r'\n Available Fields\(except extensions\): "\[(.*)\]"')

OPTIONS = {
    CALL_ID: "--id",
    RESUME_FROM: "--resume-from",
    PRIORITY: "--priority",
    START_AFTER: "--in",
    START_AT: "--at",
    ON_DISCONNECT: "--detach",
}
"""The option for each metadata key. A gateway's errors name the key, users know the option."""

TextPairs = tuple[tuple[str, str], ...]


def request_messages(
    method: Method, fields: Sequence[str], more: TextIO | None
) -> Iterator[Message]:
    """The message of the FIELD=VALUE arguments, then the file's, one a line.

    Raises ClickException.
    """
    if fields or more is None:
        yield _parsed(method, _nested(fields), "the fields")
    for number, line in enumerate(more or (), start=1):
        if line.strip():
            try:
                value = json.loads(line)
            except ValueError as error:
                raise click.ClickException(f"--requests, line {number}: {error}") from error
            yield _parsed(method, value, f"--requests, line {number}")


def _parsed(method: Method, value: Any, where: str) -> Message:
    try:
        return json_format.ParseDict(value, method.request_class(), descriptor_pool=method.pool)
    except json_format.ParseError as error:
        name = method.request_class.DESCRIPTOR.full_name
        problem = _FIELDS.sub(_listed, str(error))
        raise click.ClickException(f"{where}: expected a {name}: {problem}") from error


def _listed(found: re.Match[str]) -> str:
    names = found[1].replace("'", "")
    return f" Its fields: {names or 'none'}."


def _nested(fields: Sequence[str]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for field in fields:
        path, equals, text = field.partition("=")
        if not equals:
            raise click.ClickException(f"{field}: expected FIELD=VALUE")
        *parents, last = path.split(".")
        message = root
        for parent in parents:
            message = message.setdefault(parent, {})
        message[last] = _value(text)
    return root


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=str)
    except ValueError:
        return text


def request_metadata(
    options: Mapping[str, object], headers: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """The call's metadata: `options` by metadata key, without those that are None, then `headers`.

    Raises ClickException.
    """
    pairs = [(key, str(value)) for key, value in options.items() if value is not None]
    for header in headers:
        key, colon, value = header.partition(":")
        if not colon:
            raise click.ClickException(f"-H {header}: expected KEY:VALUE")
        pairs.append((key.strip().lower(), value.strip()))
    return tuple(pairs)


def options_in(message: str) -> str:
    """Explains the metadata keys in an error's message: which option sets each; empty if none."""
    named = [f"{key} is {option}" for key, option in OPTIONS.items() if key in message]
    return ", ".join(named)


def traced(metadata: TextPairs) -> TextPairs:
    """The metadata with a W3C trace context; a new one, if needed, marks the call as sampled.

    https://www.w3.org/TR/trace-context/
    """
    if any(key == TRACEPARENT for key, _ in metadata):
        return metadata
    return (*metadata, (TRACEPARENT, f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"))


def trace_id(metadata: TextPairs) -> str:
    """The id of the trace in the metadata; raises ClickException for another form."""
    (traceparent,) = [value for key, value in metadata if key == TRACEPARENT] or [""]
    parts = trace_parts(traceparent)
    if parts is None:
        raise click.ClickException(
            f"-H {TRACEPARENT}: {traceparent} is not a W3C trace context, 00-TRACE-SPAN-FLAGS"
        )
    return parts[0]
