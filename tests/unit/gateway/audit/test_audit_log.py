"""Which entries are written, and what happens where they can't be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from forebay.errors import BackendUnavailable, PermissionDenied, Unauthenticated
from forebay_backends.settings import Settings, SettingsError, given_settings
from forebay_gateway.audit.audit_log import NO_AUDIT, AuditLog, open_audit
from forebay_gateway.audit.denial_limit import EACH
from forebay_gateway.audit.entry import Event
from forebay_gateway.identity.principal import NOBODY, Principal
from forebay_gateway.rpc.context import Context

JANE = Principal("acme", "jane", ("caller",), "keys", "k1")
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


class Rpc:
    """An RPC of Jane's."""

    principal = JANE

    def __init__(self, *metadata: tuple[str, str], peer: str = "ipv4:10.0.0.7:1") -> None:
        self._metadata = metadata
        self._peer = peer

    def peer(self) -> str:
        return self._peer

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata


class Lines:
    """Takes lines, unless it is broken."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.is_broken = False

    def write(self, line: str) -> None:
        if self.is_broken:
            raise OSError("no space left on device")
        self.entries.append(json.loads(line))


def context(*metadata: tuple[str, str], peer: str = "ipv4:10.0.0.7:1") -> Context:
    return cast(Context, Rpc(*metadata, peer=peer))


def deny(log: AuditLog, rpc: Context) -> None:
    log.denied(rpc, Unauthenticated("expired"), path="/p.S/M", permission="p.S.M", principal=NOBODY)


def cancel(log: AuditLog) -> None:
    log.allowed(
        *(context(), Event.CANCEL),
        method="google.longrunning.Operations/CancelOperation",
        permission="forebay.calls.cancel",
        owner="acme",
        call_id="c1",
    )


def test_a_denial_has_the_call_and_the_trace_that_the_caller_named() -> None:
    lines = Lines()
    deny(AuditLog(lines.write), context(("forebay-call-id", "c1"), ("traceparent", TRACEPARENT)))
    (entry,) = lines.entries
    assert (entry["event"], entry["decision"], entry["reason"]) == (
        "rpc",
        "deny",
        "UNAUTHENTICATED",
    )
    assert (entry["method"], entry["permission"]) == ("p.S/M", "p.S.M")
    assert (entry["call_id"], entry["trace_id"], entry["tenant"]) == ("c1", TRACE_ID, "")


def test_other_metadata_is_not_in_an_entry() -> None:
    lines = Lines()
    deny(
        AuditLog(lines.write),
        context(
            ("forebay-call-id", "no id: canary"),
            ("traceparent", "canary"),
            ("authorization", "Bearer canary"),
            ("cookie", "canary"),
        ),
    )
    assert "canary" not in json.dumps(lines.entries)
    assert (lines.entries[0]["call_id"], lines.entries[0]["trace_id"]) == ("", "")


def test_a_flood_is_counted_and_told_at_the_end_of_the_window() -> None:
    lines = Lines()
    log = AuditLog(lines.write)
    for port in range(EACH + 3):  # other ports, one host
        deny(log, context(peer=f"ipv4:10.0.0.7:{port}"))
    assert len(lines.entries) == EACH
    log.end_window()
    last = lines.entries[-1]
    assert (last["event"], last["peer"], last["count"]) == ("omitted", "10.0.0.7", 3)
    log.end_window()
    assert len(lines.entries) == EACH + 1


def test_what_a_caller_does_has_its_identity() -> None:
    lines = Lines()
    cancel(AuditLog(lines.write))
    (entry,) = lines.entries
    assert (entry["event"], entry["decision"]) == ("cancel", "allow")
    assert (entry["tenant"], entry["subject"], entry["key_id"]) == ("acme", "jane", "k1")
    assert (entry["owner"], entry["call_id"]) == ("acme", "c1")


def test_a_listing_of_all_tenants_has_a_dash_for_the_owner() -> None:
    lines = Lines()
    log = AuditLog(lines.write)
    log.allowed(context(), Event.READ, method="m", permission="p", owner=None)
    assert lines.entries[0]["owner"] == "-"


def test_where_the_log_is_required_what_can_not_be_written_fails() -> None:
    lines = Lines()
    log = AuditLog(lines.write, is_required=True)
    lines.is_broken = True
    with pytest.raises(BackendUnavailable, match="audit log"):
        cancel(log)
    assert log.figures() == {"forebay_identity_problems": {("audit",): 1}}
    lines.is_broken = False
    cancel(log)
    assert log.figures() == {"forebay_identity_problems": {("audit",): 0}}


def test_else_it_is_done_and_the_gateways_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    lines = Lines()
    lines.is_broken = True
    log = AuditLog(lines.write)
    cancel(log)
    deny(log, context())
    assert [record.message for record in caplog.records] == [
        "the audit log can't be written: OSError('no space left on device')"
    ]


def test_a_broken_log_lets_no_denied_caller_in() -> None:
    lines = Lines()
    lines.is_broken = True
    log = AuditLog(lines.write, is_required=True)
    log.denied(context(), PermissionDenied("no"), path="/p.S/M", permission="p")  # it is refused


def settings(**given: object) -> Settings:
    return given_settings(**given)


def test_there_is_no_log_unless_it_is_asked_for() -> None:
    with open_audit(settings()) as log:
        assert log is NO_AUDIT
        assert not log.is_on
        cancel(log)


def test_a_file_turns_it_on(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    with open_audit(settings(audit_file=str(path))) as log:
        cancel(log)
    assert json.loads(path.read_text())["event"] == "cancel"


def test_standard_error_has_it_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with open_audit(settings(audit_required=True)) as log:
        cancel(log)
    assert json.loads(capsys.readouterr().err)["event"] == "cancel"


def test_a_file_that_can_not_be_written_is_refused_at_start(tmp_path: Path) -> None:
    wanted = tmp_path / "none" / "audit.log"
    with (
        pytest.raises(SettingsError, match=r"audit_file, .*: No such file or directory"),
        open_audit(settings(audit_file=str(wanted))),
    ):
        pass
