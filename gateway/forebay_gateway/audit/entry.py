"""One entry of the audit log, a line of JSON. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from forebay_gateway.identity.principal import NOBODY, Principal


class Event(StrEnum):
    """What the entry is about."""

    RPC = "rpc"
    """An RPC that was refused."""
    CANCEL = "cancel"
    DELETE = "delete"
    READ = "read"
    """Calls of another tenant were read or listed."""
    KEYS = "keys"
    """Keys or certificates in force have changed."""
    OMITTED = "omitted"
    """Denials of one peer that have no entries of their own, because there were too many."""


class Decision(StrEnum):
    """Whether the gateway allowed the request, or accepted the new keys."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry; a text is empty if it is not known or does not apply.

    `owner` is the tenant of the call, or `-` for all tenants. `message` is the error's, which never
    shows a token, or describes the change of keys. `count` is the number of denials.
    """

    event: Event
    decision: Decision
    permission: str = ""
    principal: Principal = NOBODY
    peer: str = ""
    method: str = ""
    owner: str = ""
    call_id: str = ""
    trace_id: str = ""
    reason: str = ""
    message: str = ""
    count: int = 1

    def line(self, now: float) -> str:
        """JSON in ASCII without line breaks; `now` is in seconds of Unix time."""
        return json.dumps(
            {
                "time": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
                "event": self.event,
                "decision": self.decision,
                "permission": self.permission,
                "tenant": self.principal.tenant,
                "subject": self.principal.subject,
                "issuer": self.principal.issuer,
                "key_id": self.principal.key_id,
                "peer": self.peer,
                "method": self.method,
                "owner": self.owner,
                "call_id": self.call_id,
                "trace_id": self.trace_id,
                "reason": self.reason,
                "message": self.message,
                "count": self.count,
            }
        )
