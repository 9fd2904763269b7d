"""Channels to one or several gateways, in plain text or over TLS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool

from forebay.credentials.aio_tokens import token_interceptors
from forebay.credentials.tokens import NO_PROXY, AsyncToken, Token, WithToken, check_token
from forebay.resume.channel import ResumingChannel
from forebay.resume.targets import read_targets
from forebay.routes.file import usable_routes

MAX_MESSAGE_BYTES = 64 << 20
CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Detects a dead connection within 30 s; gateways accept a ping every 10 s.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # If a name has several addresses, calls are spread over those that answer.
    ("grpc.lb_policy_name", "round_robin"),
    # Reconnects soon to a restarted gateway: gRPC's default backoff grows to 2 minutes, and its
    # default connect timeout of 20 s delays a call if an address drops packets.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


def channel(
    target: str | Sequence[str],
    *,
    resume: bool = True,
    credentials: grpc.ChannelCredentials | None = None,
    token: Token | None = None,
    options: Sequence[tuple[str, Any]] = (),
    pool: DescriptorPool | None = None,
    routes: str | Path | None = None,
) -> grpc.Channel:
    """A channel for any generated stub, to "HOST:PORT", "HOST:PORT,HOST:PORT" or a sequence.

    Calls are spread over the targets. If a connection or a gateway fails, or an error has a
    RetryInfo, the channel retries the call, on another target if there is one; a stream continues
    after the last item. Only calls of methods with a route are retried. Retries end at the
    call's `timeout` or, if it has none, after 60 s without a response (10 s if no gateway has
    accepted the call). Then the call raises `grpc.RpcError`. `resume=False` turns retries off.

    Routes are read from compiled modules, or from `pool`, such as the one of a descriptor set, and
    from the file `routes` if the gateway has one. If the service is in neither modules nor pool,
    its first call warns (RuntimeWarning) and its calls are not retried.

    `credentials` turns TLS on. `token` is sent as `authorization: Bearer …`; a function returns a
    fresh one, and is called for each RPC and each retry, in any thread: a call with an id whose
    token expires is resumed with the next. A function that raises ends the call with
    UNAUTHENTICATED.

    Raises ValueError if there is no target, or for a token without TLS beyond loopback; RouteError
    if the file can't be used. The caller closes it.
    """
    targets = read_targets(target)
    check_token(token, targets, is_secure=credentials is not None, is_async=False)
    return ResumingChannel(
        [dial(one, credentials, token, options) for one in targets],
        resumes=resume,
        pool=pool,
        routes=usable_routes(routes),
        renews_token=callable(token),
    )


def dial(
    target: str,
    credentials: grpc.ChannelCredentials | None,
    token: Token | None,
    options: Sequence[tuple[str, Any]],
) -> grpc.Channel:
    """A channel to one target, with the token in each RPC. `check_token` must have passed."""
    options = _options(credentials, token, options)
    if credentials is None:
        channel = grpc.insecure_channel(target, options)
    else:
        channel = grpc.secure_channel(target, credentials, options)
    return channel if token is None else grpc.intercept_channel(channel, WithToken(token))


def aio_dial(
    target: str,
    credentials: grpc.ChannelCredentials | None,
    token: AsyncToken | None,
    options: Sequence[tuple[str, Any]],
) -> grpc.aio.Channel:
    """Like `dial`, for `grpc.aio`."""
    options = _options(credentials, token, options)
    interceptors = None if token is None else token_interceptors(token)
    if credentials is None:
        return grpc.aio.insecure_channel(target, options, interceptors=interceptors)
    return grpc.aio.secure_channel(target, credentials, options, interceptors=interceptors)


def _options(
    credentials: grpc.ChannelCredentials | None,
    token: AsyncToken | None,
    given: Sequence[tuple[str, Any]],
) -> Sequence[tuple[str, Any]]:
    """The channel options: if a name occurs twice, gRPC uses the first."""
    private = NO_PROXY if credentials is None and token is not None else ()
    return (*private, *given, *CHANNEL_OPTIONS)
