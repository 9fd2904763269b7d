"""The settings of broker, ledger and result backend."""

from __future__ import annotations

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from forebay_backends.embedded.data_dir import default_data_dir
from forebay_backends.embedded.server import socket_url
from forebay_backends.settings.applications import (
    ApplicationSettings,
    CeleryApplication,
    celery_application,
    check_names,
    result_server,
    tls_of,
)
from forebay_backends.settings.values import (
    RPC,
    BrokerUrl,
    KeyPrefix,
    PemFile,
    ResultUrl,
    Seconds,
    WholePath,
)
from forebay_backends.urls import Backends, Tls, backends, redis_server


class BackendSettings(BaseModel):
    """Where broker, ledger and results are, and how to connect to them."""

    tls_ca: PemFile | None = Field(
        None,
        description="PEM file of the CAs that sign certificates of backends; unset: the system's",
    )
    tls_certificate: PemFile | None = Field(
        None, description="PEM file of the certificate that this process shows to backends"
    )
    tls_key: PemFile | None = Field(None, description="PEM file of that certificate's key")
    key_prefix: KeyPrefix = Field(
        "", description="first part of the name of every key and channel on a Redis or Valkey"
    )
    ledger_url: str | None = Field(
        None, repr=False, description="URL of a Redis or Valkey; unset: the embedded server"
    )
    ledger_min_replicas: int = Field(
        0, ge=0, description="replicas that must confirm accept, begin and finish; 0: none"
    )
    ledger_replica_timeout_s: Seconds = Field(
        1.0, gt=0, description="time limit for `ledger_min_replicas` to confirm, 4 s at most"
    )
    broker_url: BrokerUrl | None = Field(
        None,
        repr=False,
        description="URL of a Redis, Valkey or RabbitMQ; unset: the ledger's server",
    )
    result_url: ResultUrl = Field(
        RPC, repr=False, description="result backend of plain tasks, as Celery's `result_backend`"
    )
    max_eta_s: Seconds = Field(
        1500.0,
        gt=0,
        description="longest delay of a plain task; keep it under the "
        "`visibility_timeout` of Celery on Redis, and RabbitMQ's `consumer_timeout`",
    )
    applications: dict[str, ApplicationSettings] = Field(
        default_factory=dict,
        description="other applications with plain tasks, by name: broker, result backend, TLS",
    )
    data_dir: WholePath = Field(  # it is in the URL of the server's socket
        default_factory=default_data_dir, description="the embedded server's folder"
    )

    @field_validator("ledger_url", "broker_url", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return value or None

    @field_validator("ledger_url")
    @classmethod
    def _ledger_url(cls, value: str | None) -> str | None:
        return redis_server(value).url if value else None

    @field_validator("applications")
    @classmethod
    def _names(cls, value: dict[str, ApplicationSettings]) -> dict[str, ApplicationSettings]:
        check_names(value)
        return value

    @field_validator("ledger_min_replicas")
    @classmethod
    def _server_with_replicas(cls, value: int, info: ValidationInfo) -> int:
        url = info.data.get("ledger_url")
        if value and (url is None or "-cluster" in url.partition(":")[0]):
            raise ValueError(
                "expected 0 with the embedded server or a Redis Cluster; more needs a ledger_url "
                "that is redis://… or sentinel://…"
            )
        return value

    def backends(self) -> Backends:
        """Broker and ledger; the embedded server's if none is set."""
        url = self.ledger_url or socket_url(self.data_dir)
        return backends(url, self.broker_url, self._tls(), self.key_prefix)

    def application(self, name: str = "") -> CeleryApplication:
        """The application of that name, which must be known; without a name, the main one."""
        if name:
            return celery_application(name, self.applications, self._tls())
        results = result_server(self.result_url, self._tls(), self.key_prefix)
        return CeleryApplication("", self.backends().broker, self.result_url, results)

    def max_eta_of(self, application: str) -> float:
        """The longest delay of an application's plain tasks, in seconds."""
        own = self.applications[application].max_eta_s if application else None
        return self.max_eta_s if own is None else own

    def _tls(self) -> Tls:
        return tls_of(self.tls_ca, self.tls_certificate, self.tls_key)
