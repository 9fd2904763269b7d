"""An entry of the audit log is one line of JSON."""

from __future__ import annotations

import json

from forebay_gateway.audit.entry import Decision, Entry, Event
from forebay_gateway.identity.principal import Principal

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


def test_nothing_that_a_caller_sends_ends_the_line() -> None:
    subject = 'x"}\n{"event": "forged\u2028\x1b[2J'
    line = Entry(event=Event.RPC, decision=Decision.DENY, principal=Principal("t", subject)).line(0)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["subject"] == subject
