"""Making channels: to one gateway or several, in the clear or over TLS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool

from forebay.resume.channel import ResumingChannel
from forebay.resume.targets import read_targets

MAX_MESSAGE_BYTES = 64 << 20
CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A dead connection is noticed within 30 s; gateways accept pings from 10 s on.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A name that stands for several addresses spreads calls over those that answer.
    ("grpc.lb_policy_name", "round_robin"),
    # A gateway that was restarted is found soon; gRPC's own waits grow to 2 minutes, and
    # an address that swallows what it is sent holds up a call for 20 s.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


def channel(
    target: str | Sequence[str],
    *,
    resume: bool = True,
    credentials: grpc.ChannelCredentials | None = None,
    options: Sequence[tuple[str, Any]] = (),
    pool: DescriptorPool | None = None,
) -> grpc.Channel:
    """A channel for any generated stub, to "HOST:PORT", "HOST:PORT,HOST:PORT" or a sequence.

    Calls are spread over the targets. Those of methods with a route resume: where a
    connection or a gateway fails, or says that a retry may help, the call is made
    again, elsewhere if there is an elsewhere; a stream goes on after the last item. That is
    bounded by the call's `timeout` or, where it has none, by 60 s of failures only (10 s
    until a gateway has taken the call). Calls end with `grpc.RpcError` as ever. `resume=False`
    leaves failures to the caller. Routes are those of compiled modules, or of `pool`, such as a
    descriptor set's. Raises ValueError where there is no target. Close it.
    """
    return ResumingChannel(
        [dial(grpc, one, credentials, options) for one in read_targets(target)],
        resumes=resume,
        pool=pool,
    )


def dial(
    module: Any,
    target: str,
    credentials: grpc.ChannelCredentials | None,
    options: Sequence[tuple[str, Any]],
) -> Any:
    """A channel of `grpc` or `grpc.aio` to one target."""
    options = (*CHANNEL_OPTIONS, *options)
    if credentials is None:
        return module.insecure_channel(target, options=options)
    return module.secure_channel(target, credentials, options=options)
