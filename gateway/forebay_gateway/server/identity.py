"""Who may call a gateway: what the settings say, checked, and the guards of its ports."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from functools import partial
from math import inf
from typing import Any

from forebay.routes import Method
from forebay_backends.aio.polling import poll_until
from forebay_backends.metrics.registry import Figures
from forebay_backends.settings import Settings, SettingsError
from forebay_backends.settings.addresses import is_loopback
from forebay_backends.settings.identity_settings import AuthSettings
from forebay_gateway.guard.guard import Guard, OnDenied
from forebay_gateway.identity.authentication import Authentication, PrincipalOfCertificate
from forebay_gateway.identity.permissions import Roles, role_problems, unknown_roles
from forebay_gateway.identity.principal import Principal
from forebay_gateway.identity.requirements import Requirements, permission_of
from forebay_gateway.identity.spiffe import ISSUER as SPIFFE
from forebay_gateway.identity.spiffe import principal_of_certificate, spiffe_rules
from forebay_gateway.identity.verifiers import Verifiers, make_verifiers

_log = logging.getLogger(__name__)


class Identity:
    """Authentication and roles of a gateway whose settings have `[auth]`."""

    def __init__(self, settings: Settings, verifiers: Verifiers | None) -> None:
        self.verifiers = verifiers
        self.roles = Roles(settings.roles)
        self._authentication = Authentication(verifiers, _of_certificate(settings.auth))
        self._guards: list[Guard] = []
        self._defined_roles = settings.roles
        self._role_problems: list[str] = []

    @property
    def is_ready(self) -> bool:
        """Whether all tokens can be verified: false until each issuer's keys were fetched."""
        return self.verifiers is None or self.verifiers.is_ready

    def may(self, principal: Principal, permission: str) -> bool:
        return self.roles.grants(principal.roles, permission)

    def loops(
        self, on_health: Callable[[bool], Awaitable[None]]
    ) -> Iterator[Coroutine[Any, Any, None]]:
        """The coroutines that run as long as the gateway does."""
        if self.verifiers is not None:
            yield from self.verifiers.loops()
        if not self.is_ready:
            yield self._report_readiness(on_health)

    async def _report_readiness(self, on_health: Callable[[bool], Awaitable[None]]) -> None:
        await poll_until(lambda: self.is_ready, inf)
        await on_health(True)

    @property
    def problems(self) -> list[str]:
        """What is wrong with keys of callers as they are now."""
        return [*([] if self.verifiers is None else self.verifiers.problems), *self._role_problems]

    def on_keys_changed(self) -> None:
        """Ends the RPCs of callers whose key was revoked; reports unknown roles of keys."""
        verifiers = self.verifiers
        if verifiers is None:
            return
        for guard in self._guards:
            guard.end_revoked(lambda one: one.issuer == SPIFFE or verifiers.is_in_force(one))
        problems = list(unknown_roles(self._defined_roles, verifiers.roles))
        for problem in problems:
            if problem not in self._role_problems:
                _log.warning("%s; the role grants nothing, and the gateway can't restart", problem)
        self._role_problems = problems

    def figures(self) -> Figures:
        """The figures of keys, and how many RPCs were let through and refused."""
        results = sum((guard.results for guard in self._guards), Counter[str]())
        return {
            "forebay_auth_total": {(result,): count for result, count in results.items()},
            "forebay_identity_problems": {("tokens",): len(self.problems)},
            **({} if self.verifiers is None else self.verifiers.figures()),
        }

    def guard(
        self, methods: Sequence[Method], on_denied: OnDenied, *, for_operators: bool = False
    ) -> Guard:
        """The guard of a port that serves the methods, besides the gateway's own services."""
        requirements = Requirements(methods, for_operators=for_operators)
        guard = Guard(self._authentication, self.roles, requirements, on_denied)
        self._guards.append(guard)
        return guard


def make_identity(settings: Settings, methods: Sequence[Method]) -> Identity | None:
    """None where authentication is off.

    Raises SettingsError for everything that is wrong with the settings of identity: an open port,
    files of keys, roles.
    """
    problems = list(_open_port_problems(settings))
    auth, verifiers = settings.auth, None
    if auth.jwt or auth.keys:
        try:
            verifiers = make_verifiers(auth)
        except SettingsError as error:
            problems.append(str(error))
    problems += role_problems(
        settings.roles,
        map(permission_of, methods),
        {**_named_roles(auth), **({} if verifiers is None else verifiers.roles)},
    )
    if problems:
        raise SettingsError("\n".join(problems))
    return Identity(settings, verifiers) if auth.is_on else None


def warn_if_insecure(settings: Settings, address: str) -> None:
    """Says at each start that strangers may reach the port."""
    missing = _missing(settings)
    if missing and not is_loopback(address):
        _log.warning(
            "insecure: listening on %s without %s: whoever reaches it can %s",
            address,
            " and ".join(missing),
            "read what callers send" if settings.auth.is_on else "make every call",
        )


def _missing(settings: Settings) -> list[str]:
    return [
        *(["[tls]"] if settings.tls is None else []),
        *([] if settings.auth.is_on else ["[auth]"]),
    ]


def _open_port_problems(settings: Settings) -> Iterator[str]:
    missing = _missing(settings)
    if not missing or settings.insecure:
        return
    for name in ("listen", "web_listen"):
        address = getattr(settings, name)
        if address is None or is_loopback(address):
            continue
        yield (
            f"{name} = {address!r}: beyond loopback, a gateway needs "
            f"{' and '.join(missing)}; set them, or listen on 127.0.0.1, or set insecure = true "
            "(--insecure, FOREBAY_INSECURE=true) in a network where whoever reaches the port may "
            "make every call"
        )


def _named_roles(auth: AuthSettings) -> dict[str, tuple[str, ...]]:
    return {f"auth.spiffe, {one.pattern}": one.roles for one in auth.spiffe}


def _of_certificate(auth: AuthSettings) -> PrincipalOfCertificate | None:
    if not auth.spiffe:
        return None
    return partial(principal_of_certificate, rules=spiffe_rules(auth.spiffe))
