"""The Celery applications whose plain tasks the gateway calls: their settings and servers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from forebay_backends.settings.values import RPC, BrokerUrl, KeyPrefix, PemFile, ResultUrl, Seconds
from forebay_backends.urls import (
    AmqpServer,
    RedisServer,
    Tls,
    broker_server,
    is_redis,
    redis_server,
)

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")
_LONGEST_NAME = 64


def check_names(names: Iterable[str]) -> None:
    """Raises ValueError for names that applications can't have."""
    unfit = ", ".join(repr(name) for name in names if not _is_name(name))
    if unfit:
        raise ValueError(f"{unfit}: expected a name of a-z, 0-9, single _ and -, such as shop")


def _is_name(name: str) -> bool:
    # A variable has the name in capitals before `__`: FOREBAY_APPLICATIONS__SHOP__BROKER_URL.
    fits = set(name) <= _LETTERS and "__" not in name and name[:1].isalnum()
    return fits and not name.endswith("_") and len(name) <= _LONGEST_NAME


class ApplicationSettings(BaseModel):
    """Where the broker and the results of one application are, and how to connect to them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    broker_url: BrokerUrl = Field(
        repr=False, description="the application's broker: URL of a Redis, Valkey or RabbitMQ"
    )
    result_url: ResultUrl = Field(RPC, repr=False, description="its `result_backend`")
    key_prefix: KeyPrefix = Field(
        "", description="its `global_keyprefix`: first part of the keys on a Redis or Valkey"
    )
    max_eta_s: Seconds | None = Field(
        None, gt=0, description="as the setting `max_eta_s`; unset: that one"
    )
    tls_ca: PemFile | None = Field(None, description="as the setting `tls_ca`; unset: that one")
    tls_certificate: PemFile | None = Field(
        None, description="as `tls_certificate`; unset: that one and its key"
    )
    tls_key: PemFile | None = Field(None, description="as `tls_key`")

    def tls(self, default: Tls) -> Tls:
        """How to connect to the application's servers; `default` has the values of unset settings.

        Certificate and key come from the same place: both are the application's, or both defaults.
        """
        own = self.tls_certificate or self.tls_key
        certificate, key = (
            (self.tls_certificate, self.tls_key) if own else (default.certificate, default.key)
        )
        return tls_of(self.tls_ca or default.ca, certificate, key)


@dataclass(frozen=True)
class CeleryApplication:
    """An application with plain tasks: its broker and its result backend.

    `name` is empty for the main application, which has the gateway's own `broker_url` and
    `result_url`. `result_server` is None if the result backend is neither a Redis nor a Valkey.
    """

    name: str
    broker: RedisServer | AmqpServer
    result_url: str = field(repr=False)
    result_server: RedisServer | None

    def called(self, backend: str) -> str:
        """How an error message names its `backend`, such as "broker"."""
        return f"{backend} of application {self.name!r}" if self.name else backend

    def setting(self, name: str) -> str:
        """How an error message names its setting `name`, such as "broker_url"."""
        return f"applications.{self.name}.{name}" if self.name else f"FOREBAY_{name.upper()}"


def celery_application(
    name: str, applications: Mapping[str, ApplicationSettings], tls: Tls
) -> CeleryApplication:
    """The application of that name; `tls` has the gateway's own settings, as defaults."""
    given = applications[name]
    own = given.tls(tls)
    return CeleryApplication(
        name,
        broker_server(given.broker_url, own, given.key_prefix),
        given.result_url,
        result_server(given.result_url, own, given.key_prefix),
    )


def result_server(url: str, tls: Tls, key_prefix: str) -> RedisServer | None:
    """The Redis or Valkey of a result backend's URL; None for other backends."""
    return redis_server(url, tls, key_prefix) if is_redis(url) else None


def tls_of(ca: Path | str | None, certificate: Path | str | None, key: Path | str | None) -> Tls:
    """The TLS settings from files that may be unset."""
    return Tls(str(ca or ""), str(certificate or ""), str(key or ""))
