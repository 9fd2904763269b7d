"""Problems of certificates, keys and the audit log of this process, for ListProblems.

The problems name no file, since they leave this machine: `forebay doctor` and the log do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from forebay.v1 import calls_pb2 as pb
from forebay_backends.ledger.presence import WorkerPresence
from forebay_backends.signing.keyring import Keyring
from forebay_backends.signing.keys import SAME_KEYS, mismatch
from forebay_gateway.audit.audit_log import AuditLog
from forebay_gateway.server.identity import Identity

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from forebay_gateway.tls.server_tls import ServerCredentials, ServerTls

_LAST_GOOD = "can't be used; the gateway goes on with the last good ones"
_DOCTOR = "`forebay doctor` with the gateway's settings, or the gateway's log, says what is wrong"


async def security_problems(
    tls: ServerTls | None, identity: Identity | None, audit: AuditLog
) -> list[pb.Problem]:
    """The security problems of this process, as of now."""
    return [*_of_certificates(tls), *_of_callers_keys(identity), *_of_the_audit_log(audit)]


def signing_problems(keyring: Keyring, workers: Sequence[WorkerPresence]) -> list[pb.Problem]:
    """One for keys that can't be read, and one for each worker whose keys don't fit."""
    problems = [
        pb.Problem(
            subject=f"worker {worker.worker}",
            description=problem,
            fix=SAME_KEYS,
        )
        for worker in workers
        if (problem := mismatch(keyring.ids, worker.signing_keys)) is not None
    ]
    if keyring.files is not None and keyring.files.problem is not None:
        problems.insert(0, _unusable("signing keys", "the new keys"))
    return problems


def _of_certificates(tls: ServerTls | None) -> Iterator[pb.Problem]:
    from forebay_gateway.tls.expiry import RENEW, expiry

    if tls is None:
        return
    if tls.files.problem is not None:
        yield _unusable("tls", "the new certificates")
    for what, certificate in _in_force(tls.current):
        expires = expiry(certificate, datetime.now(UTC))
        if expires.is_near:
            description = f"{what} {expires.description}"
            yield pb.Problem(subject="tls", description=description, fix=RENEW)


def _in_force(current: ServerCredentials) -> Iterator[tuple[str, Certificate]]:
    shown, cas = current.parsed
    yield "the gateway's certificate", shown
    for ca in cas:
        yield f"the client CA {ca.subject.rfc4514_string()}", ca


def _of_callers_keys(identity: Identity | None) -> Iterator[pb.Problem]:
    if identity is None:
        return
    if not identity.is_ready:
        description = "the keys of an issuer were not fetched yet: its tokens are refused"
        fix = "check that the gateway reaches the issuer's jwks_url; its log has the error"
        yield pb.Problem(subject="identity", description=description, fix=fix)
    elif identity.problems:
        yield _unusable("identity", "keys or roles of callers")


def _of_the_audit_log(audit: AuditLog) -> Iterator[pb.Problem]:
    if audit.is_broken:
        description = "the last entry could not be written"
        fix = "make room, or let the gateway write the file; its log has the error"
        yield pb.Problem(subject="audit log", description=description, fix=fix)


def _unusable(subject: str, what: str) -> pb.Problem:
    return pb.Problem(subject=subject, description=f"{what} {_LAST_GOOD}", fix=_DOCTOR)
