"""A route's policy in words. Pure."""

from __future__ import annotations

from google.protobuf.message import Message

from forebay.routes import Method


def policy(method: Method) -> str:
    """The policy, for example "durable, may run again, outlives its caller"."""
    route = method.route
    kind = "ephemeral" if route.ephemeral else "durable"
    if method.operation is not None:
        kind = f"operation of {_name(method.operation.response_class)}"
    words = [
        kind if not method.is_plain else _plain_task(method),
        "may run again" if method.may_run_again else "runs once",
    ]
    if route.detach and method.operation is None:
        words.append("outlives its caller")
    if route.deterministic:
        words.append("deterministic")
    if route.transient:
        words.append(f"{route.transient} is live only")
    return ", ".join(words)


def _name(message_class: type[Message]) -> str:
    return str(message_class.DESCRIPTOR.name)


def _plain_task(method: Method) -> str:
    return f"plain task of {method.application}" if method.application else "plain task"
