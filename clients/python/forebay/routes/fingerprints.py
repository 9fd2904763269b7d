"""Fingerprints of methods: gateway and worker compare them to detect version skew. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, MethodDescriptor

_DIGITS = 16


def fingerprint(method: MethodDescriptor) -> str:
    """The method's kind and a hash of its messages, such as `us-0123456789abcdef`.

    The kind has `u` (unary) or `s` (streaming) for the request, then for the response. The hash
    covers names, numbers and types of all fields and enum values that its messages can contain;
    comments, options and file names don't count.
    """
    kind = "us"[method.client_streaming] + "us"[method.server_streaming]
    types = sorted(set(_types((method.input_type, method.output_type))))
    ends = method.input_type.full_name, method.output_type.full_name
    return f"{kind}-{sha256(repr((ends, types)).encode()).hexdigest()[:_DIGITS]}"


def same_kind(one: str, other: str) -> bool:
    """Whether both methods are of the same kind of RPC."""
    return one.partition("-")[0] == other.partition("-")[0]


def _types(roots: tuple[Descriptor, ...]) -> Iterator[tuple[object, ...]]:
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
