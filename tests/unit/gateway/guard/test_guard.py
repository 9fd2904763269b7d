"""The guard lets known callers with the permission pass, and nobody else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, cast

import grpc
import pytest
from google.rpc import status_pb2

from forebay.errors import BackendUnavailable, ForebayError, Unauthenticated
from forebay.errors.status import STATUS_DETAILS_KEY, from_status
from forebay_gateway.guard.guard import Denial, Guard
from forebay_gateway.identity.authentication import Authentication
from forebay_gateway.identity.permissions import Roles
from forebay_gateway.identity.principal import NOBODY, Principal
from forebay_gateway.identity.requirements import Requirements
from forebay_gateway.rpc.context import Context, Handler
from tests.unit.samples import METHODS

PATH = METHODS["Add"].path
PERMISSION = METHODS["Add"].name
CALLER = Principal("acme", "alice", ("caller",), "keys", "k1")
READER = Principal("acme", "rita", ("reader",), "keys", "k2")
ROLES = Roles({"caller": ["forebay.compute.v1.*"], "reader": ["forebay.calls.read"]})


class Tokens:
    """The token is the subject's name."""

    def __init__(self, *principals: Principal) -> None:
        self._principals = {one.subject: one for one in principals}

    def takes(self, token: str) -> bool:
        return True

    def remembered(self, token: str) -> Principal | None:
        return self._principals.get(token)

    async def verify(self, token: str) -> Principal:
        if token == "early":  # noqa: S105
            raise BackendUnavailable("the keys of the issuer are not known yet")
        raise Unauthenticated("the token is not valid")


class Rpc:
    """A context that keeps the status that it ended with."""

    principal = NOBODY

    def __init__(self, token: str | None, remaining_s: float | None = None) -> None:
        self.code: grpc.StatusCode | None = None
        self.error: ForebayError | None = None
        self._token = token
        self._remaining_s = remaining_s

    @property
    def task(self) -> asyncio.Task[Any] | None:
        return asyncio.current_task()

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        return None if self._token is None else [("authorization", f"Bearer {self._token}")]

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}

    def time_remaining(self) -> float | None:
        return self._remaining_s

    async def abort(self, code: grpc.StatusCode, details: str, trailing: Any) -> None:
        self.code = code
        status = status_pb2.Status.FromString(dict(trailing)[STATUS_DETAILS_KEY])
        self.error = from_status(code.value[0], details, status)
        raise grpc.aio.AbortError


class Site:
    """A guarded handler, and what it was asked and refused."""

    def __init__(self, path: str = PATH, *principals: Principal, serve: Any = None) -> None:
        self.seen: list[Principal] = []
        self.denials: list[Denial] = []
        self.guard = Guard(
            Authentication(Tokens(*(principals or (CALLER, READER))), None),
            ROLES,
            Requirements(METHODS.values()),
            lambda _, denial: self.denials.append(denial),
        )
        self._handler = self.guard.guarded(
            Handler(serve or self._serve, streams_responses=False), path
        )

    async def _serve(self, context: Context) -> bytes:
        self.seen.append(context.principal)
        return b"served"

    async def call(self, rpc: Rpc) -> bytes | None:
        return await self._handler.serve(cast(Context, rpc))

    async def refused(self, rpc: Rpc) -> grpc.StatusCode | None:
        with pytest.raises(grpc.aio.AbortError):
            await self.call(rpc)
        assert not self.seen
        return rpc.code


async def test_the_handler_of_a_known_caller_with_the_permission_sees_the_principal() -> None:
    site = Site()
    assert await site.call(Rpc("alice")) == b"served"
    assert site.seen == [CALLER]
    assert not site.denials


async def test_decisions_are_counted_by_their_result() -> None:
    site = Site()
    for token in (None, "rita", "early"):
        await site.refused(Rpc(token))
    await site.call(Rpc("alice"))
    await site.call(Rpc("alice"))
    assert site.guard.results == {
        "OK": 2,
        "UNAUTHENTICATED": 1,
        "PERMISSION_DENIED": 1,
        "BACKEND_UNAVAILABLE": 1,
    }


@pytest.mark.parametrize("token", [None, "mallory"])
async def test_an_unknown_caller_is_unauthenticated(token: str | None) -> None:
    site = Site()
    assert await site.refused(Rpc(token)) is grpc.StatusCode.UNAUTHENTICATED
    assert [denial.principal for denial in site.denials] == [NOBODY]


async def test_a_known_caller_without_the_permission_is_told_its_name() -> None:
    site, rpc = Site(), Rpc("rita")
    assert await site.refused(rpc) is grpc.StatusCode.PERMISSION_DENIED
    assert rpc.error is not None
    assert PERMISSION in str(rpc.error)
    assert rpc.error.reason == "PERMISSION_DENIED"
    (denial,) = site.denials
    assert (denial.path, denial.permission, denial.principal) == (PATH, PERMISSION, READER)


async def test_a_verifier_that_can_not_tell_yet_refuses_with_its_own_status() -> None:
    assert await Site().refused(Rpc("early")) is grpc.StatusCode.UNAVAILABLE


async def test_the_health_check_needs_no_identity() -> None:
    site = Site("/grpc.health.v1.Health/Check")
    assert await site.call(Rpc(None)) == b"served"


@pytest.mark.parametrize("path", ["", "/grpc.health.v1.Health/Watch"])
async def test_any_identity_will_do_for_a_path_without_a_permission(path: str) -> None:
    assert await Site(path).call(Rpc("rita")) == b"served"
    assert await Site(path).refused(Rpc(None)) is grpc.StatusCode.UNAUTHENTICATED


async def test_an_rpc_ends_when_the_token_expires_and_its_handler_is_cancelled() -> None:
    cancelled = []

    async def serve(context: Context) -> bytes:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(context.principal.subject)
            raise
        return b"late"

    brief = Principal("acme", "brief", ("caller",), expires_at=time.time() + 0.05)
    site, rpc = Site(PATH, brief, serve=serve), Rpc("brief")
    assert await site.refused(rpc) is grpc.StatusCode.UNAUTHENTICATED
    assert "expired" in str(rpc.error)
    assert cancelled == ["brief"]
    assert [denial.principal for denial in site.denials] == [brief]
    assert site.guard.results == {"OK": 1, "UNAUTHENTICATED": 1}
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_calls_of_one_token_end_together_and_those_that_have_ended_stay_so() -> None:
    ended: list[str] = []

    async def serve(context: Context) -> bytes:
        if context.time_remaining() == 1.0:
            return b"quick"
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(context.principal.subject)
        return b"late"

    brief = Principal("acme", "brief", ("caller",), expires_at=time.time() + 0.05)
    other = Principal("acme", "other", ("caller",), expires_at=time.time() + 60)
    site = Site(PATH, brief, other, serve=serve)
    assert await site.call(Rpc("brief", remaining_s=1.0)) == b"quick"
    lasting = asyncio.create_task(site.call(Rpc("other")))
    rpcs = [Rpc("brief") for _ in range(3)]
    results = await asyncio.gather(*map(site.call, rpcs), return_exceptions=True)
    assert all(isinstance(result, grpc.aio.AbortError) for result in results)
    assert {rpc.code for rpc in rpcs} == {grpc.StatusCode.UNAUTHENTICATED}
    assert ended == ["brief"] * 3
    assert not lasting.done()
    lasting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await lasting


async def test_a_caller_that_disconnects_as_its_token_expires_gets_no_status() -> None:
    begun = asyncio.Event()

    async def serve(context: Context) -> bytes:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            call.cancel()  # the front's, while the handler cleans up
            raise
        return b""

    brief = Principal("acme", "brief", ("caller",), expires_at=time.time() + 0.05)
    rpc = Rpc("brief")
    call = asyncio.create_task(Site(PATH, brief, serve=serve).call(rpc))
    with pytest.raises(asyncio.CancelledError):
        await call
    assert rpc.code is None


async def test_a_timeout_of_the_handler_is_not_taken_for_an_expired_token() -> None:
    async def serve(context: Context) -> bytes:
        raise TimeoutError("the handler's own")

    lasting = Principal("acme", "lasting", ("caller",), expires_at=time.time() + 60)
    with pytest.raises(TimeoutError, match="own"):
        await Site(PATH, lasting, serve=serve).call(Rpc("lasting"))


async def test_a_caller_that_disconnects_is_not_told_of_its_token() -> None:
    begun = asyncio.Event()

    async def serve(context: Context) -> bytes:
        begun.set()
        await asyncio.sleep(60)
        return b""

    lasting = Principal("acme", "lasting", ("caller",), expires_at=time.time() + 60)
    rpc = Rpc("lasting")
    call = asyncio.create_task(Site(PATH, lasting, serve=serve).call(rpc))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert rpc.code is None


async def test_rpcs_of_a_revoked_key_end_and_others_go_on() -> None:
    begun = asyncio.Semaphore(0)

    async def serve(context: Context) -> bytes:
        begun.release()
        await asyncio.sleep(60)
        return b""

    ending = Principal("acme", "ending", ("caller",), expires_at=time.time() + 60)
    site = Site(PATH, CALLER, ending, serve=serve)
    rpcs = [Rpc("alice"), Rpc("alice"), Rpc("ending")]
    calls = [asyncio.create_task(site.call(rpc)) for rpc in rpcs]
    for _ in rpcs:
        await begun.acquire()
    site.guard.end_revoked(lambda principal: principal != CALLER)
    site.guard.end_revoked(lambda principal: principal != CALLER)  # told twice
    await asyncio.wait(calls[:2])
    assert [rpc.code for rpc in rpcs] == [grpc.StatusCode.UNAUTHENTICATED] * 2 + [None]
    assert "revoked" in str(rpcs[0].error)
    assert [denial.principal for denial in site.denials] == [CALLER] * 2
    assert not calls[2].done()
    calls[2].cancel()
    with pytest.raises(asyncio.CancelledError):
        await calls[2]


async def test_calls_that_have_ended_are_forgotten() -> None:
    site = Site()
    assert await site.call(Rpc("alice")) == b"served"
    site.guard.end_revoked(lambda principal: pytest.fail(f"{principal} has no RPC"))
