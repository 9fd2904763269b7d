"""Fingerprints of methods: gateway and worker compare them to detect version skew. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, MethodDescriptor

_DIGITS = 16


def fingerprint(
    method: MethodDescriptor, operation: tuple[Descriptor, Descriptor] | None = None
) -> str:
    """The method's kind and a hash of its messages, such as `us-0123456789abcdef`.

    The kind is one letter for the request and one for the response: `u` (unary), `s` (streaming)
    or, for a response that is an operation, `o`. `operation` has that operation's response and
    metadata types. The hash covers names, numbers and types of all fields and enum values that the
    messages can contain, but no comments, options or file names.
    """
    kind = "us"[method.client_streaming] + ("o" if operation else "us"[method.server_streaming])
    messages = method.input_type, *(operation or (method.output_type,))
    types = sorted(set(_types(messages)))
    ends = tuple(message.full_name for message in messages)
    return f"{kind}-{sha256(repr((ends, types)).encode()).hexdigest()[:_DIGITS]}"


def same_kind(one: str, other: str) -> bool:
    """Whether two fingerprints have the same kind."""
    return one.partition("-")[0] == other.partition("-")[0]


def _types(roots: Sequence[Descriptor]) -> Iterator[tuple[object, ...]]:
    """Every type that the messages can contain, as a tuple of its members."""
    seen: set[str] = set()
    left: list[Descriptor | EnumDescriptor] = [*roots]
    while left:
        found = left.pop()
        if found.full_name in seen:
            continue
        seen.add(found.full_name)
        if isinstance(found, EnumDescriptor):
            values = sorted((value.number, value.name) for value in found.values)
            yield found.full_name, tuple(values)
            continue
        for field in found.fields:
            left += [kind for kind in (field.message_type, field.enum_type) if kind is not None]
        yield found.full_name, tuple(sorted(map(_field, found.fields)))


def _field(field: FieldDescriptor) -> tuple[object, ...]:
    kind = field.message_type or field.enum_type
    return field.number, field.name, field.type, field.is_repeated, kind.full_name if kind else ""
