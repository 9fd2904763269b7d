"""RabbitMQ's permissions for the users of gateways and workers. Pure.

A user has three regular expressions for names of queues and exchanges: configure, write, read
(https://www.rabbitmq.com/docs/access-control#authorisation).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_DEFAULT_EXCHANGE = r"amq\.default"
_PROBE = r"forebay-doctor-.*"
_EVENTS = (r"celeryev", r"celeryev\..*")
_CONTROL = (r"celery\.pidbox", r"reply\.celery\.pidbox", r".*\.celery\.pidbox")
_NOTHING = "^$"


@dataclass(frozen=True)
class Permissions:
    """A user's three regular expressions."""

    configure: str
    write: str
    read: str

    def line(self, user: str, vhost: str) -> str:
        """The command that grants these permissions to the user."""
        words = (f"'{word}'" for word in (self.configure, self.write, self.read))
        return " ".join(("rabbitmqctl", "set_permissions", "-p", f"'{vhost}'", user, *words))


def gateway_permissions(queues: Iterable[str]) -> Permissions:
    """A gateway declares and binds queues like Celery, and publishes; doctor reads its probes."""
    named = [*map(re.escape, queues), _PROBE]
    return Permissions(_any(named), _any([*named, _DEFAULT_EXCHANGE]), _any(named))


def worker_permissions(queues: Iterable[str], *, remote_control: bool) -> Permissions:
    """A worker takes messages, resends lost messages, and publishes Celery's events."""
    named = [*map(re.escape, queues), *_EVENTS, *(_CONTROL if remote_control else ())]
    return Permissions(_any(named), _any([*named, _DEFAULT_EXCHANGE]), _any(named))


def _any(names: Iterable[str]) -> str:
    alternatives = "|".join(names)
    return f"^({alternatives})$" if alternatives else _NOTHING
