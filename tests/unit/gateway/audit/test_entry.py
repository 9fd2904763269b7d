"""An entry of the audit log is one line of JSON."""

from __future__ import annotations

import json
import tomllib

from forebay_backends.settings import given_settings
from forebay_gateway.audit.entry import Decision, Entry, Event
from forebay_gateway.identity.principal import Principal
from tests.pages import DOCS, blocks

JANE = Principal("acme", "jane", ("caller",), "keys", "k1")


def test_an_entry_has_the_caller_what_it_did_and_when() -> None:
    entry = Entry(
        event=Event.CANCEL,
        decision=Decision.ALLOW,
        permission="forebay.calls.cancel",
        principal=JANE,
        peer="ipv4:10.0.0.7:1",
        method="google.longrunning.Operations/CancelOperation",
        owner="acme",
        call_id="c1",
        trace_id="0af7651916cd43dd8448eb211c80319c",
    )
    assert json.loads(entry.line(1_000_000_000.5)) == {
        "time": "2001-09-09T01:46:40.500+00:00",
        "event": "cancel",
        "decision": "allow",
        "permission": "forebay.calls.cancel",
        "tenant": "acme",
        "subject": "jane",
        "issuer": "keys",
        "key_id": "k1",
        "peer": "ipv4:10.0.0.7:1",
        "method": "google.longrunning.Operations/CancelOperation",
        "owner": "acme",
        "call_id": "c1",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "reason": "",
        "message": "",
        "count": 1,
    }


def shown(language: str) -> str:
    """The block of the section on the audit log."""
    page = blocks(DOCS / "identity.md", "Audit log")
    (text,) = (block.text for block in page if block.language == language)
    return text


def test_the_page_has_the_fields_and_the_events() -> None:
    entry = Entry(event=Event.RPC, decision=Decision.DENY)
    example = json.loads(shown("json"))
    assert list(example) == list(json.loads(entry.line(0)))
    assert example["event"] in set(Event)
    page = (DOCS / "identity.md").read_text()
    assert [event for event in Event if f"`{event}`" not in page] == []


def test_the_settings_on_the_page_are_settings() -> None:
    settings = given_settings(**tomllib.loads(shown("toml")))
    assert settings.audit_required
    assert str(settings.audit_file) == "/var/log/forebay/audit.log"


def test_nothing_that_a_caller_sends_ends_the_line() -> None:
    subject = 'x"}\n{"event": "forged\u2028\x1b[2J'
    line = Entry(event=Event.RPC, decision=Decision.DENY, principal=Principal("t", subject)).line(0)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["subject"] == subject
