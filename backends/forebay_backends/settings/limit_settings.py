"""The settings that limit calls, their messages and the gateway's memory."""

from __future__ import annotations

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from forebay_backends.settings.values import Seconds

_MIB = 1 << 20
# One large message must fit into a gateway that holds another one, even of another caller.
_LEAST_MESSAGES = 4


class LimitSettings(BaseModel):
    """Limits; times in seconds, sizes in bytes."""

    max_message_bytes: int = Field(
        4 * _MIB, ge=1024, description="size limit of a message, in both directions"
    )
    max_calls: int = Field(10_000, ge=1, description="limit of calls in flight, in all processes")
    max_held_bytes: int = Field(
        512 * _MIB,
        ge=1,
        description="limit of the memory that calls and arriving requests hold",
    )
    max_queue_depth: int = Field(100_000, ge=1, description="limit of waiting calls in one queue")
    max_delayed_calls: int = Field(
        100_000, ge=1, description="limit of delayed calls, over all gateways"
    )
    first_request_s: Seconds = Field(
        30.0, gt=0, description="time limit for a call's first request"
    )
    idle_s: Seconds = Field(
        60.0, gt=0, description="time limit for the next request of a live call"
    )
    stall_s: Seconds = Field(
        60.0,
        gt=0,
        description="how long the handler waits for a caller that reads no message",
    )
    queue_wait_s: Seconds = Field(
        60.0, gt=0, description="time limit in the queue, until a worker begins the call"
    )
    run_time_s: Seconds | None = Field(None, gt=0, description="time limit of one attempt")
    attempts: int = Field(3, ge=1, description="number of attempts of a call that may run again")
    cancel_grace_s: Seconds = Field(
        5.0,
        ge=0,
        description="time that a cancelled handler has to stop before it is killed (prefork)",
    )
    linger_s: Seconds = Field(
        10.0, ge=0, description="how long a call continues after its last watcher has disconnected"
    )
    request_bytes: int = Field(
        64 * _MIB, ge=1, description="size limit of one call's requests in total"
    )
    item_bytes: int = Field(
        256 * _MIB, ge=1, description="size limit of one call's items in the ledger"
    )
    window_bytes: int = Field(
        8 * _MIB, ge=1, description="size limit of messages sent ahead of their reader"
    )
    retention_s: Seconds = Field(
        3600.0, gt=0, description="how long the ledger keeps a finished call"
    )
    retention_bytes: int = Field(
        1 << 30, ge=0, description="size limit of all finished calls in total"
    )

    @field_validator("max_held_bytes")
    @classmethod
    def _room_for_messages(cls, value: int, info: ValidationInfo) -> int:
        processes = info.data.get("processes", 1)
        least = _LEAST_MESSAGES * info.data.get("max_message_bytes", 0) * processes
        if value < least:
            times = f" times processes, {processes}," if processes > 1 else ""
            raise ValueError(
                f"expected {_LEAST_MESSAGES} times max_message_bytes{times} or more, {least}"
            )
        return value
