"""Watches for changes of keys and certificates: logs them, and ends RPCs of revoked keys."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from forebay_backends.aio.periodic import run_periodically
from forebay_gateway.audit.audit_log import AuditLog
from forebay_gateway.audit.key_changes import Keys, KeyWatch
from forebay_gateway.server.identity import Identity

if TYPE_CHECKING:
    from forebay_gateway.tls.server_tls import ServerTls

INTERVAL_S = 1.0
_TLS = "tls"

_log = logging.getLogger(__name__)


async def watch_keys(audit: AuditLog, identity: Identity | None, tls: ServerTls | None) -> None:
    """Looks for changed keys and certificates once a second, until cancelled.

    Writes the changes to the audit log, and ends the RPCs of callers that a revoked key identified.
    """
    watch = KeyWatch(_keys(identity, tls), [])

    async def compare() -> None:
        changes = list(watch.changes(_keys(identity, tls)))
        for source, change in changes:
            audit.keys_changed(source, change)
        if changes and identity is not None:
            identity.on_keys_changed()
        for problem in watch.new_problems(_problems(identity, tls)):
            audit.keys_changed("", problem, is_good=False)

    await run_periodically(INTERVAL_S, compare, _log, "watching keys")


def _keys(identity: Identity | None, tls: ServerTls | None) -> Mapping[str, Keys]:
    keys: dict[str, Keys] = {}
    if identity is not None and identity.verifiers is not None:
        keys |= identity.verifiers.keys_in_force
    if tls is not None:
        current = tls.current
        keys[_TLS] = {"certificate": current.certificate, "client_ca": current.client_ca}
    return keys


def _problems(identity: Identity | None, tls: ServerTls | None) -> list[str]:
    problems: list[str] = []
    if identity is not None:
        problems += identity.problems
    if tls is not None and tls.files.problem is not None:
        problems.append(tls.files.problem)
    return problems
