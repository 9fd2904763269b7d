"""JWKS documents: which of their keys are used, and for what."""

from __future__ import annotations

import json

import pytest

from forebay_gateway.identity.jwt.jwks import KeySet, read_jwks
from tests.identity_provider import private_key, public_jwk

RSA = public_jwk(private_key("RSA"), "RS256", kid="a")
EC = public_jwk(private_key("ES256"), "ES256", kid="b")


def keys_of(*entries: object) -> KeySet:
    return read_jwks(json.dumps({"keys": entries}).encode())


def test_a_key_without_an_algorithm_has_those_of_its_type() -> None:
    [rsa] = keys_of(RSA).keys
    assert rsa.algorithms == {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
    for kind in ("ES256", "ES384", "ES512", "ES256K", "EdDSA"):
        [key] = keys_of(public_jwk(private_key(kind), kind, kid="x")).keys
        assert key.algorithms == {kind}


def test_a_key_with_an_algorithm_has_only_that() -> None:
    [key] = keys_of({**RSA, "alg": "PS256"}).keys
    assert key.algorithms == {"PS256"}
    assert repr(key) == "VerificationKey(key_id='a', algorithms=frozenset({'PS256'}))"


def test_a_key_is_the_same_whatever_else_its_document_says() -> None:
    certified = keys_of({**RSA, "x5t#S256": "renewed", "use": "sig"})
    assert certified.keys == keys_of(RSA).keys
    assert keys_of(public_jwk(private_key("RSA", 7), "RS256", kid="a")).keys != keys_of(RSA).keys


def test_a_key_is_found_by_its_id_for_its_algorithms_only() -> None:
    keys = keys_of(RSA, EC)
    assert keys.find("a", "RS256") is keys.keys[0]
    assert keys.find("a", "ES256") is None
    assert keys.has("b")
    assert not keys.has("c")
    assert not keys.has(None)


def test_keys_of_different_types_may_have_one_id() -> None:
    keys = keys_of({**RSA, "kid": "x"}, {**EC, "kid": "x"})
    assert keys.find("x", "RS256") is keys.keys[0]
    assert keys.find("x", "ES256") is keys.keys[1]


def test_a_token_without_key_id_may_mean_an_only_key() -> None:
    assert keys_of(RSA).find(None, "RS256")
    assert not keys_of(RSA, EC).find(None, "RS256")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "HS256"}, "key 's': it is symmetric"),
        ({**RSA, "d": "AQAB"}, "key 'a': it is private"),
        ({**RSA, "use": "enc"}, "not for signatures"),
        ({**RSA, "key_ops": ["encrypt"]}, "not for signatures"),
        ({**RSA, "key_ops": "verify"}, "not for signatures"),
        ({**RSA, "alg": "HS256"}, "not known here"),
        ({**RSA, "alg": "none"}, "not known here"),
        ({**RSA, "alg": "ES256"}, "not known here"),
        ({**RSA, "alg": ["RS256"]}, "not known here"),
        ({**EC, "crv": "P-192"}, "not known here"),
        ({**EC, "crv": ["P-256"]}, "not known here"),
        ({"kid": "k"}, "key 'k': its type or its algorithm is not known here"),
        ({"kty": ["RSA"]}, "key number 0: its type"),
        ({**RSA, "kid": 7}, "key number 0: its id is not a string"),
        ({**RSA, "n": "!!"}, "its numbers"),
        ({**RSA, "n": 7}, "its numbers"),
        ({"kty": "RSA", "kid": "a"}, "its numbers"),
        ({**EC, "x": EC["y"]}, "its numbers"),
        (public_jwk(private_key("short"), "RS256"), "it has 1024 bits, instead of 2048 to 8192"),
        ("key", "it is not an object"),
        (None, "it is not an object"),
    ],
)
def test_a_key_that_cannot_verify_tokens_is_left_out_with_the_reason(
    entry: object, reason: str
) -> None:
    alone = keys_of(entry)
    assert alone.keys == ()
    [line] = alone.ignored
    assert reason in line
    assert len(keys_of(entry, RSA, EC).keys) == 2


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (b"", "JSON"),
        (b"\xff", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b"9" * 5000, "JSON"),
        (b"[]", "list `keys`"),
        (b"{}", "list `keys`"),
        (b'{"keys": {}}', "list `keys`"),
        (b'{"keys": [' + b"1," * 100 + b"1]}", "at most 100 keys; it has 101"),
        (b" " * (1 << 20), "at most 262144 bytes"),
    ],
)
def test_what_is_no_jwks_is_refused(document: bytes, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        read_jwks(document)


def test_key_sets_are_equal_if_their_documents_are() -> None:
    other = {**EC, "x": public_jwk(private_key("ES256", 1), "ES256")["x"]}
    assert keys_of(RSA, EC) == keys_of(dict(reversed(RSA.items())), EC)
    assert keys_of(RSA) != keys_of({**RSA, "kid": "c"})
    assert keys_of(RSA) != keys_of({**RSA, "alg": "RS256"})
    assert keys_of(EC) != keys_of(other)
