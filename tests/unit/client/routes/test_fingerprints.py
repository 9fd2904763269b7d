"""Fingerprints distinguish versions of a method's messages."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from forebay.routes.fingerprints import fingerprint, same_kind
from tests.unit.described import IMPORTS, NUMBER, file, route


def fingerprint_of(**changes: Any) -> str:
    proto = file(**{"routes": {"Run": route()}, **changes})
    pool = DescriptorPool()
    for needed in (*IMPORTS, proto):
        pool.AddSerializedFile(needed.SerializeToString())
    return fingerprint(pool.FindServiceByName(f"{proto.package}.S").methods[0])


def test_a_fingerprint_shows_the_kind_of_the_method() -> None:
    assert fingerprint_of().startswith("uu-")
    assert fingerprint_of(streams=True).startswith("us-")
    assert same_kind(fingerprint_of(), fingerprint_of(fields=("a", "b")))
    assert not same_kind(fingerprint_of(), fingerprint_of(streams=True))


@pytest.mark.parametrize(
    "changes", [{"fields": ("a", "b")}, {"fields": ("b",)}, {"kind": NUMBER}, {"package": "other"}]
)
def test_it_changes_with_the_messages(changes: dict[str, Any]) -> None:
    assert fingerprint_of(**changes) != fingerprint_of()


@pytest.mark.parametrize(
    "changes", [{"name": "elsewhere.proto"}, {"routes": {"Other": route("other")}}]
)
def test_it_stays_with_the_messages(changes: dict[str, Any]) -> None:
    assert fingerprint_of(**changes) == fingerprint_of()


def test_it_knows_messages_within_messages_also_those_that_hold_themselves() -> None:
    def nested(inner: str) -> str:
        proto = file(routes={"Run": route()})
        proto.message_type[0].field.add(
            name="self", number=8, type=11, label=3, type_name=".shop.M"
        )
        proto.message_type[0].field.add(
            name="inner", number=9, type=11, label=1, type_name=".shop.M.Inner"
        )
        own = DescriptorProto(name="Inner")
        own.field.add(name=inner, number=1, type=9, label=1)
        proto.message_type[0].nested_type.append(own)
        pool = DescriptorPool()
        for needed in (*IMPORTS, proto):
            pool.AddSerializedFile(needed.SerializeToString())
        return fingerprint(pool.FindServiceByName("shop.S").methods[0])

    assert nested("x") == nested("x")
    assert nested("x") != nested("y")
