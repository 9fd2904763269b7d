"""The options of an AMQP URL that are about the connection, as kombu names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forebay_backends.urls.parsing import number

OPTIONS = ("heartbeat", "connect_timeout", "login_method")
_LOGIN_METHODS = ("PLAIN", "AMQPLAIN", "EXTERNAL")
_LONGEST_HEARTBEAT_S = 65535  # a short in AMQP's tune
_LONGEST_TIMEOUT_S = 3600


@dataclass(frozen=True)
class AmqpOptions:
    """None where the URL does not say.

    `heartbeat_s` is for connections that consume, 0 turns it off; those that only send are checked
    before they are used.
    """

    heartbeat_s: int | None = None
    connect_timeout_s: float | None = None
    login_method: str | None = None

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> AmqpOptions:
        """Raises ValueError for unfit values, which the message does not show."""
        heartbeat = number(options, "heartbeat", 0, _LONGEST_HEARTBEAT_S)
        if heartbeat is not None and heartbeat != int(heartbeat):
            raise ValueError("heartbeat: expected whole seconds")
        login_method = options.get("login_method")
        if login_method is not None and login_method not in _LOGIN_METHODS:
            raise ValueError(f"login_method: expected one of {', '.join(_LOGIN_METHODS)}")
        return cls(
            None if heartbeat is None else int(heartbeat),
            number(options, "connect_timeout", 0.1, _LONGEST_TIMEOUT_S),
            login_method,
        )

    @property
    def options(self) -> dict[str, str]:
        """The options in the form that `parse` takes."""
        values = (self.heartbeat_s, self.connect_timeout_s, self.login_method)
        pairs = zip(OPTIONS, values, strict=True)
        return {name: f"{value}" for name, value in pairs if value is not None}

    def for_kombu(self) -> dict[str, Any]:
        """Arguments of kombu's `Connection`, but for the heartbeat."""
        values = {"connect_timeout": self.connect_timeout_s, "login_method": self.login_method}
        return {name: value for name, value in values.items() if value is not None}

    def for_celery(self) -> dict[str, object]:
        """Celery's settings."""
        values = {
            "broker_heartbeat": self.heartbeat_s,
            "broker_connection_timeout": self.connect_timeout_s,
            "broker_login_method": self.login_method,
        }
        return {name: value for name, value in values.items() if value is not None}
