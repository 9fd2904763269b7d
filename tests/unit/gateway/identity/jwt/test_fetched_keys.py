"""Public keys at a URL: when they are fetched, and which are used when that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from forebay.errors import BackendUnavailable
from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.aio.polling import poll_until
from forebay_backends.settings.identity_settings import JwtSettings
from forebay_gateway.identity.jwt import fetched_keys as module
from forebay_gateway.identity.jwt.fetched_keys import EARLY_S, KEEP_S, FetchedKeys
from forebay_gateway.identity.jwt.issuer import Issuer
from forebay_gateway.identity.jwt.verifier import JwtVerifier
from forebay_gateway.identity.verifiers import Verifiers
from tests.identity_provider import AUDIENCE, ISSUER, IdentityProvider
from tests.unit.gateway.identity.verifying import refusal_of

WITHIN_S = 30.0


class Site:
    """A verifier whose keys are fetched from the test."""

    def __init__(self) -> None:
        self.provider = IdentityProvider("RS256-0", "RS256-1")
        self.now = 1000.0
        self.fetches = 0
        self.is_down = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.store = FetchedKeys(ISSUER, self._fetch, lambda: self.now)
        settings = JwtSettings(
            issuer=ISSUER,
            audiences=(AUDIENCE,),
            algorithms=("RS256",),
            jwks_url="https://login.example/jwks.json",
        )
        self.verifier = Verifiers(JwtVerifier([Issuer(settings, self.store)]), None)

    async def _fetch(self) -> bytes:
        self.fetches += 1
        await self.may_answer.wait()
        if self.is_down:
            raise BackendUnavailable("connection refused")
        return self.provider.jwks()

    async def fetched(self, count: int) -> None:
        """Waits until so many fetches have begun, and answers are taken in."""
        await poll_until(lambda: self.fetches >= count, WITHIN_S)
        assert self.fetches == count
        await asyncio.sleep(0)

    async def refusal(self, token: str) -> str:
        return await refusal_of(self.verifier, token)


@asynccontextmanager
async def running(site: Site) -> AsyncIterator[None]:
    loops = [asyncio.create_task(loop) for loop in site.verifier.loops()]
    try:
        yield
    finally:
        await cancel_all(loops)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """One that has the keys."""
    site = Site()
    async with running(site):
        await poll_until(lambda: site.verifier.is_ready, WITHIN_S)
        assert site.fetches == 1
        yield site


async def test_until_the_keys_were_fetched_the_gateway_is_not_ready_and_tries_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    site = Site()
    site.is_down = True
    assert not site.verifier.is_ready
    assert site.verifier.problems == [f"the keys of {ISSUER} were not fetched yet"]
    async with running(site):
        await poll_until(lambda: site.fetches >= 3, WITHIN_S)
        assert not site.verifier.is_ready
        [problem] = site.verifier.problems
        assert problem == f"the keys of {ISSUER} can't be fetched: connection refused"
        with pytest.raises(BackendUnavailable, match="not known yet"):
            await site.verifier.verify(site.provider.token())
        site.is_down = False
        await poll_until(lambda: site.verifier.is_ready, WITHIN_S)
        assert site.verifier.problems == []
        assert await site.verifier.verify(site.provider.token())


async def test_a_token_by_a_new_key_has_the_keys_fetched_and_is_accepted(site: Site) -> None:
    site.provider.key_ids.append("RS256-2")
    assert await site.verifier.verify(site.provider.token("RS256-2"))
    assert site.fetches == 2


async def test_a_thousand_tokens_with_random_key_ids_cost_one_fetch_in_30_s(site: Site) -> None:
    good = site.provider.token()
    bad = [site.provider.token(headers={"kid": f"random-{n}"}) for n in range(1000)]
    site.may_answer.clear()
    refused = [asyncio.create_task(site.refusal(token)) for token in bad[:500]]
    await poll_until(lambda: site.fetches == 2, WITHIN_S)
    assert await site.verifier.verify(good), "it waits for no fetch"
    site.may_answer.set()
    await asyncio.gather(*refused)
    for token in bad[500:]:
        assert "key is not one of" in await site.refusal(token)
    assert site.fetches == 2
    site.now += EARLY_S
    await site.refusal(bad[0])
    assert site.fetches == 3


async def test_few_wait_for_an_early_fetch_and_the_rest_are_refused_at_once(site: Site) -> None:
    token = site.provider.token(headers={"kid": "random"})
    site.may_answer.clear()
    tasks = [asyncio.create_task(site.refusal(token)) for _ in range(150)]
    await poll_until(lambda: site.fetches == 2 and sum(t.done() for t in tasks) > 0, WITHIN_S)
    assert sum(task.done() for task in tasks) == 50
    site.may_answer.set()
    await asyncio.gather(*tasks)


async def test_a_token_that_comes_during_a_fetch_waits_for_the_next_one(site: Site) -> None:
    site.may_answer.clear()
    site.now += EARLY_S
    first = asyncio.create_task(site.refusal(site.provider.token(headers={"kid": "random"})))
    await poll_until(lambda: site.fetches == 2, WITHIN_S)
    second = asyncio.create_task(site.refusal(site.provider.token(headers={"kid": "other"})))
    site.may_answer.set()
    await asyncio.gather(first, second)
    assert site.fetches == 2


async def test_a_caller_that_leaves_takes_no_other_with_it(site: Site) -> None:
    site.provider.key_ids.append("RS256-2")
    token = site.provider.token("RS256-2")
    site.may_answer.clear()
    leaving, staying = (asyncio.create_task(site.verifier.verify(token)) for _ in range(2))
    await poll_until(lambda: site.fetches == 2, WITHIN_S)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    site.may_answer.set()
    assert (await staying).subject == "ann"


async def test_a_withdrawn_key_is_refused_after_the_next_fetch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REFRESH_S", 0.01)
    site = Site()
    async with running(site):
        await poll_until(lambda: site.verifier.is_ready, WITHIN_S)
        token = site.provider.token("RS256-1")
        assert await site.verifier.verify(token)
        assert site.verifier.remembered(token)
        site.provider.key_ids.remove("RS256-1")
        await poll_until(lambda: site.verifier.remembered(token) is None, WITHIN_S)
        assert "key is not one of" in await site.refusal(token)
        assert site.verifier.is_ready


async def test_known_keys_go_on_for_a_day_while_the_issuer_is_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REFRESH_S", 0.01)
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    site = Site()
    async with running(site):
        await poll_until(lambda: site.verifier.is_ready, WITHIN_S)
        token = site.provider.token()
        site.is_down = True
        for passed_s in (3600.0, KEEP_S - 3600.0):
            site.now += passed_s
            seen = site.fetches
            await poll_until(lambda: site.fetches > seen + 1, WITHIN_S)  # noqa: B023 - awaited here
            assert await site.verifier.verify(token)
            assert site.verifier.remembered(token)
            assert site.verifier.is_ready
            assert "can't be fetched" in site.verifier.problems[0]
        assert site.verifier.figures() == {"forebay_jwks_age_seconds": {(ISSUER,): KEEP_S}}
        site.now += 1.0
        await poll_until(lambda: not site.verifier.is_ready, WITHIN_S)
        assert site.verifier.remembered(token) is None
        with pytest.raises(BackendUnavailable):
            await site.verifier.verify(token)
        site.is_down = False
        await poll_until(lambda: site.verifier.is_ready, WITHIN_S)
        assert await site.verifier.verify(token)


@pytest.mark.parametrize("answer", [b"", b"<html>", b'{"keys": {}}', b"[" * 100_000])
async def test_an_answer_that_is_no_jwks_leaves_the_keys_as_they_are(
    site: Site, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site.provider, "jwks", lambda: answer)
    token = site.provider.token(headers={"kid": "random"})
    await site.refusal(token)
    assert site.fetches == 2
    assert "expected a JWKS" in site.verifier.problems[0]
    assert await site.verifier.verify(site.provider.token())


async def test_an_unexpected_error_ends_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> bytes:
        raise RuntimeError("broken")

    monkeypatch.setattr(site.provider, "jwks", broken)
    await site.refusal(site.provider.token(headers={"kid": "random"}))
    assert "RuntimeError: broken" in caplog.text
    monkeypatch.undo()
    site.now += EARLY_S
    await site.refusal(site.provider.token(headers={"kid": "random"}))
    assert site.fetches == 3
