"""A route's policy in words. Pure."""

from __future__ import annotations

from forebay.routes import Method


def policy(method: Method) -> str:
    """For example: "durable, may run again, outlives its caller"."""
    route = method.route
    kind = "ephemeral" if route.ephemeral else "durable"
    words = [
        kind if not method.is_plain else _plain_task(method),
        "may run again" if method.may_run_again else "runs once",
    ]
    if route.detach:
        words.append("outlives its caller")
    if route.deterministic:
        words.append("deterministic")
    if route.transient:
        words.append(f"{route.transient} is live only")
    return ", ".join(words)


def _plain_task(method: Method) -> str:
    return f"plain task of {method.application}" if method.application else "plain task"
