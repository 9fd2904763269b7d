"""The metadata that a gateway sends with a call: its id, times and status."""

from __future__ import annotations

from typing import Any

from forebay.metadata import CALL_ID


def metadata_of(call: Any) -> dict[str, str]:
    """The initial and trailing metadata of a call that has ended."""
    return {**dict(call.initial_metadata() or ()), **dict(call.trailing_metadata() or ())}


def id_of_ended(call: Any) -> str | None:
    """The id of a call of `forebay.channel` that failed or was cancelled; None without one."""
    found: str | None = metadata_of(call).get(CALL_ID) or call.call_id
    return found
