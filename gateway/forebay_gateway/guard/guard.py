"""Lets an RPC pass if its caller is known and has the permission that the method requires."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from forebay.errors import ForebayError, PermissionDenied, Unauthenticated
from forebay_gateway.guard.open_rpcs import OpenRpcs
from forebay_gateway.identity.authentication import Authentication
from forebay_gateway.identity.permissions import Roles
from forebay_gateway.identity.principal import NOBODY, Principal
from forebay_gateway.identity.requirements import Requirements
from forebay_gateway.rpc.context import Context, Handler
from forebay_gateway.rpc.status import abort


@dataclass(frozen=True, slots=True)
class Denial:
    """An RPC that was refused.

    `path` is empty if the server does not serve it, `permission` if the method requires only an
    identity; `principal` is NOBODY if the caller was not authenticated.
    """

    error: ForebayError
    path: str
    permission: str
    principal: Principal


OnDenied = Callable[[Context, Denial], None]

PASSED = "OK"


class Guard:
    """Guards one port. It sees only an RPC's headers, and refuses before a request is read.

    `results` counts the RPCs that need an identity: `OK`, or the reason of the refusal.
    """

    def __init__(
        self,
        authentication: Authentication,
        roles: Roles,
        requirements: Requirements,
        on_denied: OnDenied,
    ) -> None:
        self._authentication = authentication
        self._roles = roles
        self._requirements = requirements
        self._on_denied = on_denied
        self._open = OpenRpcs()
        self.results: Counter[str] = Counter()

    def may_call(self, principal: Principal, path: str) -> bool:
        """Whether a known caller may call the method of the path."""
        requirement = self._requirements.of(path)
        permission = requirement.permission
        return not permission or self._roles.grants(principal.roles, permission)

    def end_revoked(self, is_in_force: Callable[[Principal], bool]) -> None:
        """Ends the RPCs of callers whose credentials are no longer in force."""
        self._open.end_revoked(is_in_force)

    def guarded(self, handler: Handler, path: str) -> Handler:
        """Wraps the handler to refuse callers without permission; `path` as in `Denial`."""
        requirement = self._requirements.of(path)
        if requirement.is_open:
            return handler
        permission = requirement.permission
        granting = self._roles.granting(permission) if permission else None
        results, open_rpcs = self.results, self._open

        async def serve(context: Context) -> bytes | None:
            principal = NOBODY
            try:
                known = self._authentication.known(context)
                principal = known or await self._authentication.verified(context)
                if granting is not None and granting.isdisjoint(principal.roles):
                    raise PermissionDenied(_denied(path, permission))
            except ForebayError as error:
                await refuse(context, error, principal)
            results[PASSED] += 1
            context.principal = principal
            task = context.task
            if task is None:
                return await handler.serve(context)
            expires_at = principal.expires_at
            if expires_at is not None and expires_at not in open_rpcs.timed:
                open_rpcs.set_timer(expires_at)
            open_rpcs[task] = principal
            try:
                return await handler.serve(context)
            except asyncio.CancelledError:
                why = open_rpcs.take_back(task)
                if why is None or context.code is not None:  # or the status is on its way
                    raise
                await refuse(context, Unauthenticated(why), principal)
            finally:
                if open_rpcs.pop(task, None) is None:  # the identity has ended
                    open_rpcs.take_back(task)

        async def refuse(context: Context, error: ForebayError, principal: Principal) -> NoReturn:
            results[error.reason] += 1
            self._on_denied(context, Denial(error, path, permission, principal))
            await abort(context, error)

        return Handler(serve, handler.streams_responses)


def _denied(path: str, permission: str) -> str:
    method = path.strip("/").replace("/", ".")
    if method == permission:
        return f"none of your roles has the permission {permission}"
    return f"{method} requires the permission {permission}, which none of your roles has"
