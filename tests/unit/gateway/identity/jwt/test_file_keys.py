"""Public keys in a file: taken in while the gateway runs, with the verdicts by them."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from forebay.errors import BackendUnavailable
from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.settings.identity_settings import JwtSettings
from forebay_gateway.identity.jwt.issuer import Issuer
from forebay_gateway.identity.jwt.key_stores import FileKeys
from forebay_gateway.identity.jwt.verifier import JwtVerifier
from forebay_gateway.identity.principal import Principal
from forebay_gateway.identity.verifiers import Verifiers
from tests.identity_provider import (
    AUDIENCE,
    ISSUER,
    IdentityProvider,
    private_key,
    public_jwk,
)
from tests.unit.gateway.identity.verifying import refusal_of, replace


class Site:
    """A verifier whose file of keys the test changes."""

    def __init__(self, folder: Path) -> None:
        self.provider = IdentityProvider("RS256-0", "ES256-1")
        self._file = folder / "jwks.json"
        self._file.write_bytes(self.provider.jwks())
        settings = JwtSettings(
            issuer=ISSUER,
            audiences=(AUDIENCE,),
            algorithms=("RS256", "ES256"),
            jwks_file=self._file,
        )
        self._store = FileKeys(ISSUER, self._file)
        self.verifier = Verifiers(JwtVerifier([Issuer(settings, self._store)]), None)

    def publish(self, document: bytes) -> None:
        replace(self._file, document, self._store.files)

    async def refusal(self, token: str) -> str:
        return await refusal_of(self.verifier, token)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_a_token_of_a_withdrawn_key_is_refused_although_it_was_verified(site: Site) -> None:
    rsa, ec = site.provider.token("RS256-0"), site.provider.token("ES256-1")
    for token in (rsa, ec):
        assert await site.verifier.verify(token)
    site.provider.key_ids = ["ES256-1"]
    site.publish(site.provider.jwks())
    assert "key is not one of" in await site.refusal(rsa)
    assert site.verifier.remembered(ec) is None, "it is verified again, by the new document"
    assert await site.verifier.verify(ec)
    assert site.verifier.remembered(ec)


async def test_a_key_that_was_replaced_under_its_id_is_withdrawn(site: Site) -> None:
    token = site.provider.token("ES256-1")
    assert await site.verifier.verify(token)
    other = public_jwk(private_key("ES256", 2), "ES256", kid="ES256-1")
    site.publish(json.dumps({"keys": [other]}).encode())
    assert "signature is wrong" in await site.refusal(token)


async def test_the_same_keys_leave_the_verdicts_as_they_are(site: Site) -> None:
    token = site.provider.token()
    assert await site.verifier.verify(token)
    site.publish(site.provider.jwks() + b"\n")
    assert site.verifier.remembered(token)


@pytest.mark.parametrize("bad", [b'{"keys": [', b"[]", b"x" * (1 << 20), b'{"keys": {}}'])
async def test_a_bad_file_leaves_the_last_good_one_in_force(site: Site, bad: bytes) -> None:
    token = site.provider.token()
    assert await site.verifier.verify(token)
    site.publish(bad)
    assert site.verifier.remembered(token)
    assert site.verifier.is_ready
    [problem] = site.verifier.problems
    assert "jwks.json: expected a JWKS" in problem
    site.publish(site.provider.jwks())
    assert site.verifier.problems == []


async def test_without_any_key_the_gateway_is_not_ready_and_says_so(site: Site) -> None:
    site.publish(b'{"keys": []}')
    assert not site.verifier.is_ready
    assert site.verifier.problems == [f"the JWKS of {ISSUER} has no key for signatures"]
    with pytest.raises(BackendUnavailable, match="not known yet"):
        await site.verifier.verify(site.provider.token())


async def test_the_keys_are_logged_when_they_are_followed_and_not_when_they_are_tried(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "jwks.json"
    file.write_bytes(IdentityProvider().jwks())
    FileKeys(ISSUER, file)
    store = FileKeys(ISSUER, file)
    assert caplog.messages == []
    following = asyncio.create_task(store.run())
    await asyncio.sleep(0)
    assert caplog.messages == [f"{ISSUER} has 1 keys for tokens"]
    await cancel_all([following])


async def test_a_key_that_replaces_another_under_its_id_is_not_that_of_its_callers(
    site: Site,
) -> None:
    before = await site.verifier.verify(site.provider.token("RS256-0"))
    new = public_jwk(private_key("RSA", 7), "RS256", kid="RS256-0")
    site.publish(json.dumps({"keys": [new]}).encode())
    assert not site.verifier.is_in_force(before)


async def test_a_callers_key_is_in_force_until_it_is_withdrawn(site: Site) -> None:
    rsa = await site.verifier.verify(site.provider.token("RS256-0"))
    ec = await site.verifier.verify(site.provider.token("ES256-1"))
    assert site.verifier.is_in_force(rsa)
    site.provider.key_ids = ["ES256-1"]
    site.publish(site.provider.jwks())
    assert not site.verifier.is_in_force(rsa)
    assert site.verifier.is_in_force(ec)
    assert not site.verifier.is_in_force(Principal("acme", "ann", issuer="https://other"))
