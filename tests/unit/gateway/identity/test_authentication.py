"""Who makes an RPC: by its one `authorization` header, or by its certificate."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import pytest

from forebay.errors import Unauthenticated
from forebay_gateway.identity.authentication import AuthContext, Authentication, bearer_token
from forebay_gateway.identity.principal import Principal

ALICE = Principal("acme", "alice", ("caller",), "keys", "k1")
ROBOT = Principal("acme", "robot", ("caller",), "spiffe")


class Tokens:
    """Knows one token, and counts how often it had to verify it."""

    def __init__(self) -> None:
        self.verified = 0

    def takes(self, token: str) -> bool:
        return token.startswith("tok")

    def remembered(self, token: str) -> Principal | None:
        return ALICE if self.verified and token == "tok-a" else None  # noqa: S105

    async def verify(self, token: str) -> Principal:
        self.verified += 1
        if token == "tok-a":  # noqa: S105
            return ALICE
        raise Unauthenticated("the token is not valid")


class Caller:
    """Sends `authorization` headers over a connection."""

    def __init__(
        self, *authorization: str | bytes, certificate: Mapping[str, Iterable[bytes]] | None = None
    ) -> None:
        self._metadata = [("user-agent", "t"), *(("authorization", one) for one in authorization)]
        self._certificate = certificate or {}

    def auth_context(self) -> AuthContext:
        return self._certificate

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]]:
        return self._metadata


async def principal_of(subject: Authentication, caller: Caller) -> Principal:
    """As the guard finds it."""
    return subject.known(caller) or await subject.verified(caller)


def certified(auth_context: AuthContext) -> Principal | None:
    return ROBOT if "peer_spiffe_id" in auth_context else None


WITH_CERTIFICATE = {"peer_spiffe_id": [b"spiffe://x/ns/acme/sa/robot"]}


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_read_in_any_case(scheme: str) -> None:
    assert bearer_token([("authorization", f"{scheme} tok-a")]) == "tok-a"


def test_there_may_be_no_header() -> None:
    assert bearer_token([("x", "Bearer tok-a")]) is None


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic dTpw", "tok-a", b"Bearer tok-a"])
def test_another_form_of_header_is_refused_without_showing_it(value: str | bytes) -> None:
    with pytest.raises(Unauthenticated, match="another form") as refused:
        bearer_token([("authorization", value)])
    assert "tok-a" not in str(refused.value)
    assert "dTpw" not in str(refused.value)


async def test_two_headers_are_refused_even_if_they_are_the_same() -> None:
    subject = Authentication(Tokens(), certified)
    with pytest.raises(Unauthenticated, match="expected one"):
        await principal_of(subject, Caller("Bearer tok-a", "Bearer tok-a"))


async def test_a_token_is_verified_once() -> None:
    tokens = Tokens()
    subject = Authentication(tokens, None)
    for _ in range(3):
        assert await principal_of(subject, Caller("Bearer tok-a")) is ALICE
    assert tokens.verified == 1


async def test_a_bad_token_is_refused_whatever_the_certificate_says() -> None:
    subject = Authentication(Tokens(), certified)
    for token in ("tok-b", "other-kind"):
        with pytest.raises(Unauthenticated):
            await principal_of(subject, Caller(f"Bearer {token}", certificate=WITH_CERTIFICATE))


async def test_a_token_counts_more_than_a_certificate() -> None:
    subject = Authentication(Tokens(), certified)
    assert (
        await principal_of(subject, Caller("Bearer tok-a", certificate=WITH_CERTIFICATE)) is ALICE
    )


async def test_without_a_token_the_certificate_counts() -> None:
    subject = Authentication(Tokens(), certified)
    assert await principal_of(subject, Caller(certificate=WITH_CERTIFICATE)) is ROBOT


async def test_a_connection_outlives_its_certificate_and_its_calls_are_refused() -> None:
    expired = Principal("acme", "robot", expires_at=time.time() - 1)
    subject = Authentication(None, lambda _: expired)
    with pytest.raises(Unauthenticated, match="connect again"):
        await principal_of(subject, Caller(certificate=WITH_CERTIFICATE))


@pytest.mark.parametrize(
    ("tokens", "of_certificate", "hints"),
    [
        (Tokens(), None, ["Bearer TOKEN"]),
        (None, certified, ["client certificate"]),
        (Tokens(), certified, ["Bearer TOKEN", "client certificate"]),
    ],
)
async def test_a_caller_without_identity_is_told_how_to_give_one(
    tokens: Tokens | None, of_certificate: object, hints: list[str]
) -> None:
    subject = Authentication(tokens, of_certificate)  # type: ignore[arg-type]
    with pytest.raises(Unauthenticated) as refused:
        await principal_of(subject, Caller())
    assert all(hint in str(refused.value) for hint in hints)
    assert ("Bearer" in str(refused.value)) is (tokens is not None)


async def test_tokens_are_refused_where_only_certificates_count() -> None:
    with pytest.raises(Unauthenticated, match="not accepted"):
        await principal_of(Authentication(None, certified), Caller("Bearer tok-a"))
