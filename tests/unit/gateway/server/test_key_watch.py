"""Keys that come into force, and files that can't be used, are told to the audit log."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, TypeVar

import pytest

from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.settings import given_settings
from forebay_backends.settings.identity_settings import JwtSettings, TlsSettings
from forebay_gateway.audit.audit_log import AuditLog
from forebay_gateway.identity.jwt.issuer import Issuer
from forebay_gateway.identity.jwt.key_stores import FileKeys
from forebay_gateway.identity.jwt.verifier import JwtVerifier
from forebay_gateway.identity.keys.api_key import ApiKey, new_key
from forebay_gateway.identity.keys.keys_file import written_keys
from forebay_gateway.identity.keys.verifier import ApiKeyVerifier, KeysFile
from forebay_gateway.identity.verifiers import Verifiers
from forebay_gateway.server import key_watch
from forebay_gateway.server.identity import Identity
from forebay_gateway.server.key_watch import watch_keys
from forebay_gateway.tls.server_tls import ServerTls
from tests.certificates import Authority, TlsFiles
from tests.identity_provider import ISSUER, IdentityProvider, issuer_settings

T = TypeVar("T")


def key(subject: str) -> ApiKey:
    made, _ = new_key("acme", ("caller",), subject, None)
    return made


OLD, NEW = key("old"), key("new")


def audit_log() -> tuple[asyncio.Queue[dict[str, Any]], AuditLog]:
    """The entries of a log, and the log."""
    entries: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    return entries, AuditLog(lambda line: entries.put_nowait(json.loads(line)))


async def taken(queue: asyncio.Queue[T]) -> T:
    async with asyncio.timeout(30):
        return await queue.get()


@pytest.mark.parametrize(
    ("text", "decision", "message"),
    [
        (written_keys([OLD, NEW]), "allow", f"added: {NEW.key_id}"),
        (written_keys([NEW]), "allow", f"added: {NEW.key_id}; removed: {OLD.key_id}"),
        ("[[", "deny", "keys.toml: "),
    ],
    ids=["added", "replaced", "bad"],
)
async def test_a_changed_file_of_keys_has_an_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, decision: str, message: str
) -> None:
    monkeypatch.setattr(key_watch, "INTERVAL_S", 0.001)
    path = tmp_path / "keys.toml"
    path.write_text(written_keys([OLD]))
    verifiers = Verifiers(None, ApiKeyVerifier([KeysFile(path, 0.001)]))
    entries, audit = audit_log()
    identity = Identity(given_settings(roles={"caller": ["*"]}), verifiers)
    watch = watch_keys(audit, identity, None)
    tasks = [asyncio.create_task(loop) for loop in (watch, *verifiers.loops())]
    await asyncio.sleep(0)  # the watch knows the old keys
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)
    entry = await taken(entries)
    await cancel_all(tasks)
    assert (entry["event"], entry["decision"]) == ("keys", decision)
    assert message in entry["message"]
    assert entries.empty()


async def test_an_unknown_role_of_a_new_key_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(key_watch, "INTERVAL_S", 0.001)
    path = tmp_path / "keys.toml"
    path.write_text(written_keys([OLD]))
    verifiers = Verifiers(None, ApiKeyVerifier([KeysFile(path, 0.001)]))
    identity = Identity(given_settings(roles={"caller": ["*"]}), verifiers)
    denied: asyncio.Queue[str] = asyncio.Queue()

    def write(line: str) -> None:
        entry = json.loads(line)
        if entry["decision"] == "deny":
            denied.put_nowait(entry["message"])

    watch = watch_keys(AuditLog(write), identity, None)
    tasks = [asyncio.create_task(loop) for loop in (watch, *verifiers.loops())]
    await asyncio.sleep(0)  # the watch knows the old keys
    assert identity.problems == []
    other, _ = new_key("acme", ("caler",), "other", None)
    for keys in ([OLD, other], [OLD, other, NEW]):
        path.with_suffix(".new").write_text(written_keys(keys))
        path.with_suffix(".new").rename(path)
        async with asyncio.timeout(30):
            while len(verifiers.keys_in_force[str(path)]) != len(keys):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
    problem = await taken(denied)
    assert problem == f"{path}: there is no role 'caler' in [roles]; expected caller"
    assert identity.figures()["forebay_identity_problems"] == {("tokens",): 1}
    await asyncio.sleep(0.05)
    await cancel_all(tasks)
    assert len([line for line in caplog.messages if "caler" in line]) == 1


async def test_changed_certificates_and_ones_that_cannot_be_used_have_an_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_watch, "INTERVAL_S", 0.001)
    authority = Authority(tmp_path)
    files = TlsFiles(tmp_path, authority.issue("old", "127.0.0.1"), authority.ca)
    tls = ServerTls(TlsSettings.model_validate(files.settings()))
    entries, audit = audit_log()
    tasks = [asyncio.create_task(watch_keys(audit, None, tls))]
    await asyncio.sleep(0)  # the watch knows the old certificate
    files.show(authority.issue("new", "127.0.0.1"))
    tls.files.refresh()
    changed = await taken(entries)
    assert (changed["decision"], changed["method"]) == ("allow", "tls")
    assert changed["message"] == "changed: certificate"
    files.certificate.write_text("junk")
    tls.files.refresh()
    await expect_refusal(entries, tasks, "expected certificates in PEM")


async def test_changed_keys_of_an_issuer_and_ones_that_cannot_be_used_have_an_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_watch, "INTERVAL_S", 0.001)
    path, provider = tmp_path / "jwks.json", IdentityProvider("RS256-0")
    path.write_bytes(provider.jwks())
    store = FileKeys(ISSUER, path)
    settings = JwtSettings.model_validate(issuer_settings(jwks_file=str(path)))
    verifiers = Verifiers(JwtVerifier([Issuer(settings, store)]), None)
    identity = Identity(given_settings(roles={"caller": ["*"]}), verifiers)
    entries, audit = audit_log()
    tasks = [asyncio.create_task(watch_keys(audit, identity, None))]
    await asyncio.sleep(0)  # the watch knows the old key
    provider.key_ids = ["RS256-1"]
    path.write_bytes(provider.jwks())
    store.files.refresh()
    changed = await taken(entries)
    assert (changed["decision"], changed["method"]) == ("allow", ISSUER)
    assert changed["message"] == "added: RS256-1; removed: RS256-0"
    path.write_text("junk")
    store.files.refresh()
    await expect_refusal(entries, tasks, "expected a JWKS")


async def expect_refusal(
    entries: asyncio.Queue[dict[str, Any]], tasks: list[asyncio.Task[None]], message: str
) -> None:
    """Fails unless one more entry comes, which says so."""
    refused = await taken(entries)
    await asyncio.sleep(0.05)  # many more rounds
    await cancel_all(tasks)
    assert refused["decision"] == "deny"
    assert message in refused["message"]
    assert entries.empty()
