"""What a handler gets to know of its caller."""

from __future__ import annotations

from forebay.v1 import call_pb2
from forebay_gateway.identity.caller import caller_bytes
from forebay_gateway.identity.principal import NOBODY, Principal

JANE = Principal("acme", "jane", ("caller",), "https://login.example", "key-1", 1e9)


def test_a_handler_gets_the_subject_its_roles_and_who_vouches_for_it() -> None:
    expected = call_pb2.Caller(subject="jane", roles=["caller"], issuer="https://login.example")
    assert call_pb2.Caller.FromString(caller_bytes(JANE)) == expected


def test_there_is_no_caller_where_authentication_is_off() -> None:
    assert caller_bytes(NOBODY) == b""
