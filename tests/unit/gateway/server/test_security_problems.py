"""What ListProblems says of certificates, keys and the audit log, with real files."""

from __future__ import annotations

import datetime
from base64 import b64encode
from pathlib import Path

import pytest

from forebay.v1.calls_pb2 import Problem
from forebay_backends.ledger.presence import WorkerPresence
from forebay_backends.settings.identity_settings import TlsSettings
from forebay_backends.signing.keyring import Keyring
from forebay_gateway.audit.audit_log import NO_AUDIT, AuditLog
from forebay_gateway.server.security_problems import security_problems, signing_problems
from forebay_gateway.tls.server_tls import ServerTls
from tests.certificates import Authority, TlsFiles

NEARLY_OVER = (datetime.timedelta(days=-10), datetime.timedelta(hours=3, minutes=1))


def worker(*keys: str) -> WorkerPresence:
    return WorkerPresence("w@host", (), (), 1, "solo", "1", signing_keys=keys)


def keyring(path: Path, *names: str) -> Keyring:
    secret = b64encode(b"k" * 32).decode()
    path.write_text("".join(["[keys]\n", *(f'{name} = "{secret}"\n' for name in names)]))
    return Keyring.read(path, required=True)


async def found(tls: ServerTls | None = None, audit: AuditLog = NO_AUDIT) -> list[str]:
    problems = await security_problems(tls, None, audit)
    assert all(problem.fix for problem in problems)
    return words(problems)


def words(problems: list[Problem]) -> list[str]:
    return [f"{problem.subject}: {problem.description}" for problem in problems]


async def test_nothing_is_wrong_without_tls_keys_and_audit_log() -> None:
    assert await found() == []
    assert signing_problems(Keyring(), [worker()]) == []


async def test_certificates_that_expire_soon(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = TlsFiles(tmp_path, authority.issue("server", "127.0.0.1"), authority.ca)
    tls = ServerTls(TlsSettings.model_validate(files.settings()))
    assert await found(tls) == []
    files.show(authority.issue("old", "127.0.0.1", valid=NEARLY_OVER))
    files.trust(authority.ca, Authority(tmp_path, "partners", NEARLY_OVER).ca)
    tls.files.refresh()
    assert await found(tls) == [
        "tls: the gateway's certificate expires in 3 hours",
        "tls: the client CA CN=partners expires in 3 hours",
    ]


async def test_new_files_that_cannot_be_used_are_not_named(tmp_path: Path) -> None:
    files = TlsFiles(tmp_path, Authority(tmp_path).issue("server", "127.0.0.1"))
    tls = ServerTls(TlsSettings.model_validate(files.settings()))
    files.certificate.write_text("junk")
    tls.files.refresh()
    [problem] = await security_problems(tls, None, NO_AUDIT)
    assert problem.description.startswith("the new certificates can't be used")
    assert str(tmp_path) not in str(problem)


async def test_an_audit_log_that_cannot_be_written_until_it_can() -> None:
    is_full = True

    def write(line: str) -> None:
        if is_full:
            raise OSError("no space left")

    audit = AuditLog(write)
    audit.keys_changed("tls", "a change")
    assert await found(audit=audit) == ["audit log: the last entry could not be written"]
    is_full = False
    audit.keys_changed("tls", "a change")
    assert await found(audit=audit) == []


@pytest.mark.parametrize(
    ("theirs", "problem"),
    [
        ((), "worker w@host: has no signing keys"),
        (("old",), "worker w@host: does not have new, which signs here"),
    ],
)
def test_a_worker_whose_keys_do_not_fit(
    tmp_path: Path, theirs: tuple[str, ...], problem: str
) -> None:
    ours = keyring(tmp_path / "keys.toml", "new", "old")
    assert words(signing_problems(ours, [worker("old", "new"), worker(*theirs)])) == [problem]


def test_new_signing_keys_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    ours = keyring(path, "new")
    assert ours.files is not None
    path.write_text("junk")
    ours.files.refresh()
    [problem] = signing_problems(ours, [worker("new")])
    assert problem.subject == "signing keys"
    assert problem.description.startswith("the new keys can't be used")
    assert str(tmp_path) not in str(problem)
