"""Keys that come into force, and files that can't be used, are told to the audit log."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.settings import given_settings
from forebay_gateway.audit.audit_log import AuditLog
from forebay_gateway.identity.keys.api_key import ApiKey, new_key
from forebay_gateway.identity.keys.keys_file import written_keys
from forebay_gateway.identity.keys.verifier import ApiKeyVerifier, KeysFile
from forebay_gateway.identity.verifiers import Verifiers
from forebay_gateway.server import key_watch
from forebay_gateway.server.identity import Identity
from forebay_gateway.server.key_watch import watch_keys


def key(subject: str) -> ApiKey:
    made, _ = new_key("acme", ("caller",), subject, None)
    return made


OLD, NEW = key("old"), key("new")


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
    entries: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    audit = AuditLog(lambda line: entries.put_nowait(json.loads(line)))
    identity = Identity(given_settings(roles={"caller": ["*"]}), verifiers)
    watch = watch_keys(audit, identity, None)
    tasks = [asyncio.create_task(loop) for loop in (watch, *verifiers.loops())]
    await asyncio.sleep(0)  # the watch knows the old keys
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)
    async with asyncio.timeout(30):
        entry = await entries.get()
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
    async with asyncio.timeout(30):
        problem = await denied.get()
    assert problem == f"{path}: there is no role 'caler' in [roles]; expected caller"
    assert identity.figures()["forebay_identity_problems"] == {("tokens",): 1}
    await asyncio.sleep(0.05)
    await cancel_all(tasks)
    assert len([line for line in caplog.messages if "caler" in line]) == 1
