"""An identity provider for tests: signs tokens, publishes its public keys, and serves them."""

from __future__ import annotations

import base64
import functools
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import AllowedPrivateKeys

from tests.certificates import Issued

ISSUER = "https://login.example"
AUDIENCE = "forebay"
ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "ES256K", "EdDSA"),
)

_CURVES = {
    "ES256": ec.SECP256R1,
    "ES384": ec.SECP384R1,
    "ES512": ec.SECP521R1,
    "ES256K": ec.SECP256K1,
}


def private_key(kind: str, number: int = 0) -> AllowedPrivateKeys:
    """A key for an algorithm, or for RSA; another for each number."""
    return _made_key(kind, number)


@functools.cache
def _made_key(kind: str, number: int) -> AllowedPrivateKeys:
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind]())
    if kind == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 1024 if kind == "short" else 2048)


def _kind(algorithm: str) -> str:
    return "RSA" if algorithm[:2] in ("RS", "PS") else algorithm


def public_jwk(key: AllowedPrivateKeys, algorithm: str, **more: object) -> dict[str, Any]:
    """The public key as an entry of a JWKS."""
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    return {**made, "use": "sig", **more}


def issuer_settings(**keys: str) -> dict[str, object]:
    """The entry of `[[auth.jwt]]` for the provider; `keys` is `jwks_url` or `jwks_file`."""
    return {"issuer": ISSUER, "audiences": [AUDIENCE], "algorithms": ["RS256"], **keys}


class IdentityProvider:
    """Keys with the ids `ALGORITHM-NUMBER`, of which those in `key_ids` are published."""

    def __init__(self, *key_ids: str) -> None:
        self.key_ids = list(key_ids or ("RS256-0",))

    def jwks(self) -> bytes:
        """The published keys, each with its algorithm."""
        keys = []
        for key_id in self.key_ids:
            algorithm, number = key_id.split("-")
            key = private_key(_kind(algorithm), int(number))
            keys.append(public_jwk(key, algorithm, kid=key_id, alg=algorithm))
        return json.dumps({"keys": keys}).encode()

    def token(
        self,
        key_id: str = "RS256-0",
        headers: Mapping[str, Any] | None = None,
        **changed: object,
    ) -> str:
        """A signed token; headers and claims that are None are left out."""
        algorithm, number = key_id.split("-")
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "exp": int(time.time()) + 600,
            "sub": "ann",
            "tenant": "acme",
            "scope": "caller operator",
            **changed,
        }
        given = {name: value for name, value in claims.items() if value is not None}
        key = private_key(_kind(algorithm), int(number))
        header = {"kid": key_id, **(headers or {})}
        named = {name: value for name, value in header.items() if value is not None}
        return jwt.encode(given, key, algorithm, named)


def segment(part: object) -> str:
    """The base64url of bytes, or of anything's JSON."""
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _hmac_by_public_key(provider: IdentityProvider) -> str:
    """The attack that takes an RSA public key for an HMAC secret."""
    import hmac

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    _, payload, _ = provider.token().split(".")
    pem = (
        private_key("RSA")
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    head = f"{segment({'alg': 'HS256', 'kid': 'RS256-0'})}.{payload}"
    return f"{head}.{segment(hmac.new(pem, head.encode(), 'sha256').digest())}"


def _without_signature(algorithm: str) -> Callable[[IdentityProvider], str]:
    def token(provider: IdentityProvider) -> str:
        _, payload, _ = provider.token().split(".")
        return f"{segment({'alg': algorithm, 'kid': 'RS256-0'})}.{payload}."

    return token


def _with_header(**header: object) -> Callable[[IdentityProvider], str]:
    return lambda provider: provider.token(headers=header)


def _with_claims(**claims: object) -> Callable[[IdentityProvider], str]:
    return lambda provider: provider.token(**claims)


def _with_known_crit(provider: IdentityProvider) -> str:
    """With the only extension that PyJWT knows, which changes what is signed."""
    _, payload, signature = provider.token().split(".")
    header = {"alg": "RS256", "kid": "RS256-0", "crit": ["b64"], "b64": True}
    return f"{segment(header)}.{payload}.{signature}"


def _in(seconds: float) -> int:
    return int(time.time() + seconds)


def _with_other_payload(provider: IdentityProvider) -> str:
    head, _, signature = provider.token().split(".")
    _, payload, _ = provider.token(tenant="other").split(".")
    return f"{head}.{payload}.{signature}"


def _nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


LEEWAY_S = 300.0
"""Long, so that the margins around it are, too: a test may be slow."""
_MARGIN_S = 120.0

BAD_TOKENS: dict[str, tuple[Callable[[IdentityProvider], str], str]] = {
    "expired by more than the leeway": (
        lambda provider: provider.token(exp=_in(-LEEWAY_S - _MARGIN_S)),
        "expired",
    ),
    "not valid for longer than the leeway": (
        lambda provider: provider.token(nbf=_in(LEEWAY_S + _MARGIN_S)),
        "not valid yet",
    ),
    "issued in the future": (
        lambda provider: provider.token(iat=_in(LEEWAY_S + _MARGIN_S)),
        "not valid yet",
    ),
    "no exp": (_with_claims(exp=None), "no claim `exp`"),
    "exp as text": (_with_claims(exp="99999999999"), "`exp`"),
    "exp as a truth": (_with_claims(exp=True), "expired"),
    "exp without end": (_with_claims(exp=float("inf")), "wrong type"),
    "exp as a list": (_with_claims(exp=[]), "wrong type"),
    "nbf as text": (_with_claims(nbf="soon"), "wrong type"),
    "iat as an object": (_with_claims(iat={}), "wrong type"),
    "no iss": (_with_claims(iss=None), "no claim `iss`"),
    "another iss": (_with_claims(iss="https://login.evil"), "issuer is not"),
    "an iss that begins likewise": (_with_claims(iss=f"{ISSUER}/"), "issuer is not"),
    "no aud": (_with_claims(aud=None), "no claim `aud`"),
    "empty aud": (_with_claims(aud=[]), "no claim `aud`"),
    "another aud": (_with_claims(aud="other"), "another audience"),
    "other auds": (_with_claims(aud=["other", "forebay2"]), "another audience"),
    "aud as an object": (_with_claims(aud={"forebay": 1}), "another audience"),
    "sub as a number": (_with_claims(sub=7), "wrong type"),
    "no sub": (_with_claims(sub=None), "`sub`"),
    "no tenant": (_with_claims(tenant=None), "`tenant`"),
    "a tenant with a slash": (_with_claims(tenant="acme/other"), "`tenant`"),
    "a tenant with a line break": (_with_claims(tenant="acme\n"), "`tenant`"),
    "a long tenant": (_with_claims(tenant="a" * 65), "`tenant`"),
    "roles as a number": (_with_claims(scope=7), "`scope`"),
    "roles with a number": (_with_claims(scope=["caller", 7]), "`scope`"),
    "alg none": (_without_signature("none"), "algorithm is not one of"),
    "alg None": (_without_signature("None"), "algorithm is not one of"),
    "alg NONE": (_without_signature("NONE"), "algorithm is not one of"),
    "alg nOnE": (_without_signature("nOnE"), "algorithm is not one of"),
    "no signature": (
        lambda provider: provider.token().rpartition(".")[0] + ".",
        "signature is wrong",
    ),
    "RS256 verified as HMAC": (_hmac_by_public_key, "algorithm is not one of"),
    "an algorithm that is not accepted": (
        lambda provider: provider.token("RS512-0"),
        "algorithm is not one of",
    ),
    "an algorithm that is not the key's": (
        lambda provider: provider.token("PS256-0", {"kid": "RS256-0"}),
        "algorithm is not that of its key",
    ),
    "signed by another key": (
        lambda provider: provider.token("RS256-7", {"kid": "RS256-0"}),
        "signature is wrong",
    ),
    "claims of another token": (_with_other_payload, "signature is wrong"),
    "an unknown key": (lambda provider: provider.token("RS256-9"), "key is not one of"),
    "no key named": (lambda provider: provider.token(headers={"kid": None}), "names no key"),
    "an unknown crit": (_with_header(crit=["exp"], exp=1), "header `crit`"),
    "a known crit": (_with_known_crit, "header `crit`, which"),
    "an empty crit": (_with_header(crit=[]), "header `crit`"),
    "crit as text": (_with_header(crit="b64"), "header `crit`"),
    "jku": (_with_header(jku="https://login.evil/jwks"), "header `jku`"),
    "jwk": (_with_header(jwk=public_jwk(private_key("ES256"), "ES256")), "header `jwk`"),
    "x5u": (_with_header(x5u="https://login.evil/x5u"), "header `x5u`"),
    "a key id that is not a string": (
        lambda _: f"{segment({'alg': 'RS256', 'kid': 7})}.{segment({'iss': ISSUER})}.AAAA",
        "`kid`",
    ),
    "no alg": (
        lambda _: f"{segment({'kid': 'RS256-0'})}.{segment({'iss': ISSUER})}.AAAA",
        "names no algorithm",
    ),
    "over 8 KiB": (_with_claims(padding="x" * 8200), "at most 8192 bytes"),
    "garbage": (lambda _: "%%%.%%%.%%%", "well-formed"),
    "garbage base64": (lambda _: "AAA!.AAA!.AAA!", "well-formed"),
    "base64 of no JSON": (lambda _: f"{segment(b'x')}.{segment(b'x')}.AAAA", "well-formed"),
    "a header that is a list": (lambda _: f"{segment([])}.{segment({})}.AAAA", "well-formed"),
    "claims that are a list": (
        lambda _: f"{segment({'alg': 'RS256'})}.{segment([])}.AAAA",
        "well-formed",
    ),
    "a deep header": (lambda _: f"{segment(_nested(2900))}.{segment({})}.AAAA", "well-formed"),
    "deep claims": (
        lambda _: f"{segment({'alg': 'RS256'})}.{segment(_nested(2900))}.AAAA",
        "well-formed",
    ),
    "bytes that are no UTF-8": (lambda _: segment(bytes([255])) + ".AAAA.AAAA", "well-formed"),
    "one part": (lambda _: "abc", "well-formed"),
    "two parts": (lambda _: "abc.def", "well-formed"),
    "four parts": (lambda provider: provider.token() + ".AAAA", "well-formed"),
    "an encrypted token": (lambda _: "AAAA.AAAA.AAAA.AAAA.AAAA", "well-formed"),
    "nothing": (lambda _: "", "well-formed"),
    "a blank before it": (lambda provider: f" {provider.token()}", "formed"),
    "a letter that is not base64 in the claims": (
        lambda provider: provider.token().replace(".", ".!", 1),
        "formed",
    ),
    "a signature that is not base64": (
        lambda provider: provider.token().rpartition(".")[0] + ".%%%",
        "malformed",
    ),
    "a signature with a letter more": (lambda provider: f"{provider.token()}A", "wrong"),
}
"""By what is bad of it: how to make the token, and what its refusal says (a regular expression).

The issuer is `ISSUER`, with RS256, PS256 and ES256, and the published key RS256-0 and another.
"""


class JwksServer:
    """Answers every GET with `answer`, as the test has set it; counts the requests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answer: Callable[[BaseHTTPRequestHandler], None] = with_document(b'{"keys": []}')
        self.requests = 0


def with_document(
    document: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> Callable[[BaseHTTPRequestHandler], None]:
    """An answer of JwksServer."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"content-length": str(len(document)), **(headers or {})}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(document)

    return answer


@contextmanager
def jwks_server(port: int = 0, tls: Issued | None = None) -> Iterator[JwksServer]:
    """Serves on loopback, in threads, until the block is left; with a certificate, by HTTPS."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.requests += 1
            served.answer(self)

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Callers that go away, or trust no certificate, are the tests' business."""

    with Server(("127.0.0.1", port), Handler) as server:
        served = JwksServer(f"http{'s' * bool(tls)}://127.0.0.1:{server.server_port}/jwks.json")
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
