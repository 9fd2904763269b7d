"""An issuer's public keys, as a JWKS document has them. Pure.

https://www.rfc-editor.org/rfc/rfc7517. Each key is bound to the algorithms of its type, or to the
one that it names, so that a token's header can't choose how a key is used.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError
from jwt.algorithms import AllowedPublicKeys

MOST_BYTES = 256 << 10
MOST_KEYS = 100
RSA_BITS = range(2048, 8193)
"""Shorter keys can be broken; longer ones take over a millisecond a token."""

_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_BY_CURVE = {
    ("EC", "P-256"): "ES256",
    ("EC", "P-384"): "ES384",
    ("EC", "P-521"): "ES512",
    ("EC", "secp256k1"): "ES256K",
    ("OKP", "Ed25519"): "EdDSA",
    ("OKP", "Ed448"): "EdDSA",
}
_PRIVATE = "d"
_MEMBERS = ("kty", "crv", "n", "e", "x", "y")


@dataclass(frozen=True)
class VerificationKey:
    """A public key, and the algorithms that it may verify.

    A key that was replaced under the same id is another: `members` differ. They are the members of
    the JWK that make it the key it is (RFC 7638, section 3.2).
    """

    key_id: str | None
    algorithms: frozenset[str]
    members: tuple[tuple[str, object], ...] = field(repr=False)
    public_key: AllowedPublicKeys = field(repr=False, compare=False)


@dataclass(frozen=True)
class KeySet:
    """The keys of an issuer, and why others of its document can't be used."""

    keys: tuple[VerificationKey, ...] = ()
    ignored: tuple[str, ...] = ()

    def has(self, key_id: str | None) -> bool:
        """Whether there is a key of this id; without an id, whether there is just one key."""
        return bool(self._named(key_id))

    def find(self, key_id: str | None, algorithm: str) -> VerificationKey | None:
        """The key of this id that may verify the algorithm."""
        return next((key for key in self._named(key_id) if algorithm in key.algorithms), None)

    def _named(self, key_id: str | None) -> tuple[VerificationKey, ...]:
        if key_id is None:
            return self.keys if len(self.keys) == 1 else ()
        return tuple(key for key in self.keys if key.key_id == key_id)


NO_KEYS = KeySet()


def read_jwks(document: bytes) -> KeySet:
    """The keys of a JWKS document that can verify tokens; raises ValueError if it is none."""
    if len(document) > MOST_BYTES:
        raise ValueError(f"expected a JWKS of at most {MOST_BYTES} bytes")
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        raise ValueError("expected a JWKS, which is JSON") from None
    entries = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise ValueError("expected a JWKS: an object with a list `keys`")
    if len(entries) > MOST_KEYS:
        raise ValueError(f"expected a JWKS of at most {MOST_KEYS} keys; it has {len(entries)}")
    return _key_set(entries)


def _key_set(entries: Iterable[Any]) -> KeySet:
    keys, ignored = [], []
    for number, entry in enumerate(entries):
        try:
            keys.append(_key(entry))
        except ValueError as error:
            ignored.append(f"key {_name(entry, number)}: {error}")
    return KeySet(tuple(keys), tuple(ignored))


def _name(entry: Any, number: int) -> str:
    key_id = entry.get("kid") if isinstance(entry, dict) else None
    return repr(key_id[:64]) if isinstance(key_id, str) else f"number {number}"


def _key(entry: Any) -> VerificationKey:
    if not isinstance(entry, dict):
        raise ValueError("it is not an object")
    key_id = entry.get("kid")
    if key_id is not None and not isinstance(key_id, str):
        raise ValueError("its id is not a string")
    algorithms = _algorithms(entry)
    public_key = _public_key(entry, algorithms)
    members = tuple((name, entry.get(name)) for name in _MEMBERS)
    return VerificationKey(key_id, algorithms, members, public_key)


def _algorithms(entry: dict[str, Any]) -> frozenset[str]:
    """The algorithms that the key may verify, from its type, its use and the one that it names."""
    if entry.get("kty") == "oct":
        raise ValueError("it is symmetric: who can verify by it can sign by it")
    if _PRIVATE in entry:
        raise ValueError("it is private, and now known: replace it")
    operations = entry.get("key_ops", ["verify"])
    if entry.get("use", "sig") != "sig" or not _has(operations, "verify"):
        raise ValueError("it is not for signatures")
    algorithms = _algorithms_of_type(entry.get("kty"), entry.get("crv"))
    named = entry.get("alg")
    if named is not None:
        algorithms = frozenset(name for name in algorithms if name == named)
    if not algorithms:
        raise ValueError("its type or its algorithm is not known here")
    return algorithms


def _has(names: Any, name: str) -> bool:
    return isinstance(names, list) and name in names


def _algorithms_of_type(kind: Any, curve: Any) -> frozenset[str]:
    if kind == "RSA":
        return _RSA
    if not (isinstance(kind, str) and isinstance(curve, str)):
        return frozenset()
    name = _BY_CURVE.get((kind, curve))
    return frozenset() if name is None else frozenset({name})


def _public_key(entry: dict[str, Any], algorithms: frozenset[str]) -> AllowedPublicKeys:
    try:
        found: AllowedPublicKeys = PyJWK(entry, min(algorithms)).key
    except (PyJWTError, KeyError, TypeError, ValueError):
        raise ValueError("its numbers are not those of a key") from None
    if isinstance(found, RSAPublicKey) and found.key_size not in RSA_BITS:
        raise ValueError(
            f"it has {found.key_size} bits, instead of {RSA_BITS[0]} to {RSA_BITS[-1]}"
        )
    return found
