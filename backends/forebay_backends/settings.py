"""Settings: flags over `FOREBAY_*` variables over a TOML file over defaults.

One class for gateway and worker, so that one file and one environment serve
both. Anything unknown or unfit is refused with its name, its value and what was
expected; nothing is read before `load_settings` is called.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as UnreadableSettingsError

from forebay.deadline import clamped_s
from forebay.routes.plain import ExceptionStatus
from forebay_backends.embedded.server import socket_url
from forebay_backends.urls import (
    Backends,
    RedisServer,
    Tls,
    backends,
    broker_server,
    is_redis,
    redacted,
    redis_server,
)

PREFIX = "FOREBAY_"
CONFIG_VARIABLE = "FOREBAY_CONFIG"
# Where callers find a gateway (`forebay call`, the recipes in clients/shell): no setting.
_CALLERS_VARIABLE = "FOREBAY_ADDRESS"
DEFAULT_CONFIG = Path("forebay.toml")
_MIB = 1 << 20
# One large message must fit into a gateway that holds another one, even of another caller.
_LEAST_MESSAGES = 4
RPC = "rpc://"
"""Celery's name of the result backend that answers by a queue on the broker."""
_URLS = ("ledger_url", "broker_url", "result_url")
_EXAMPLES = {
    "exceptions": '[{"type": "mypkg.errors.NotFound", "status": "NOT_FOUND"}]',
    "services": '["mypkg.my_pb2"]',
    "checks": '{"mypkg.MyService.Method": {"option": 1}}',
}


Seconds = Annotated[float, AfterValidator(clamped_s)]


class SettingsError(ValueError):
    """Invalid settings; the message has a line for each."""


def _default_data_dir() -> Path:
    """`$XDG_STATE_HOME/forebay`, or `~/.local/state/forebay`"""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "forebay"


class Settings(BaseSettings):
    """Everything that can be set; times in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,  # it may be a password
    )

    listen: str = Field("127.0.0.1:50051", description="HOST:PORT that the gateway listens on")
    tls_ca: Path | None = Field(
        None,
        description="PEM file of the CAs that sign certificates of backends; unset: the system's",
    )
    tls_certificate: Path | None = Field(
        None, description="PEM file of the certificate that this process shows to backends"
    )
    tls_key: Path | None = Field(None, description="PEM file of that certificate's key")
    key_prefix: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._:/-]{0,64}$",
        description="first part of the name of every key and channel on a Redis or Valkey",
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
    broker_url: str | None = Field(
        None,
        repr=False,
        description="URL of a Redis, Valkey or RabbitMQ; unset: the ledger's server",
    )
    result_url: str = Field(
        RPC, repr=False, description="result backend of plain tasks, as Celery's `result_backend`"
    )
    exceptions: tuple[ExceptionStatus, ...] = Field(
        (), description="statuses for exceptions of plain tasks that the route does not list"
    )
    data_dir: Path = Field(
        default_factory=_default_data_dir, description="the embedded server's folder"
    )
    services: tuple[str, ...] = Field(
        ("forebay.compute.v1.compute_pb2",),
        min_length=1,
        description="compiled protobuf modules and descriptor sets to serve",
    )
    checks: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="options for checks, by the method's full name"
    )
    processes: int = Field(1, ge=1, description="number of gateway processes that share the port")
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
    lame_duck_s: Seconds = Field(
        5.0,
        ge=0,
        description="how long a gateway accepts calls after SIGTERM, while health is NOT_SERVING",
    )
    drain_s: Seconds = Field(
        10.0, ge=0, description="time that calls in flight have to finish at shutdown"
    )
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="log level")

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if not (colon and host and port.isdecimal() and int(port) < 65536):
            raise ValueError("expected HOST:PORT, such as 127.0.0.1:50051 or [::1]:0")
        return value

    @field_validator("data_dir")
    @classmethod
    def _whole_path(cls, value: Path) -> Path:
        return value.expanduser().absolute()  # it is in the URL of the server's socket

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

    @field_validator("ledger_url")
    @classmethod
    def _ledger_url(cls, value: str | None) -> str | None:
        return redis_server(value).url if value else None

    @field_validator("broker_url")
    @classmethod
    def _broker_url(cls, value: str | None) -> str | None:
        return broker_server(value).url if value else None

    @field_validator("result_url")
    @classmethod
    def _result_url(cls, value: str) -> str:
        if value.rstrip("/") == RPC.rstrip("/"):
            return RPC
        if not is_redis(value):
            return value
        server = redis_server(value)
        if server.is_cluster:
            raise ValueError("Celery keeps no results in a Redis Cluster; name another Redis")
        return server.url

    @field_validator("tls_ca", "tls_certificate", "tls_key")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        path = value.expanduser().absolute()
        if not os.access(path, os.R_OK) or not path.is_file():
            raise ValueError("expected a PEM file that this user can read")
        return path

    @field_validator("exceptions")
    @classmethod
    def _exceptions(cls, value: tuple[ExceptionStatus, ...]) -> tuple[ExceptionStatus, ...]:
        problems = [problem for one in value for problem in one.problems()]
        if problems:
            raise ValueError("; ".join(problems))
        return value

    def backends(self) -> Backends:
        """Broker and ledger; the embedded server's if none is set."""
        url = self.ledger_url or socket_url(self.data_dir)
        return backends(url, self.broker_url, self._tls(), self.key_prefix)

    def result_server(self) -> RedisServer | None:
        """The Redis or Valkey that keeps the results of plain tasks; None for other backends."""
        if not is_redis(self.result_url):
            return None
        return redis_server(self.result_url, self._tls(), self.key_prefix)

    def _tls(self) -> Tls:
        return Tls(str(self.tls_ca or ""), str(self.tls_certificate or ""), str(self.tls_key or ""))

    def of_one_process(self) -> Settings:
        """The settings for one of the gateway's processes, with its share of the limits."""
        return self.model_copy(
            update={
                "max_calls": -(-self.max_calls // self.processes),
                "max_held_bytes": self.max_held_bytes // self.processes,
            }
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then variables, then the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, _config_file())


class _GivenAlone(Settings):
    """Settings that ignore the environment and the file."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The arguments of the constructor only."""
        return (init_settings,)


def load_settings(flags: Mapping[str, Any] | None = None) -> Settings:
    """The settings from flags (None: not given), environment and file.

    Raises SettingsError.
    """
    _refuse_unknown_variables()
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    return _made(Settings, given)


def given_settings(**given: Any) -> Settings:
    """The settings as given, over the defaults alone; raises SettingsError."""
    return _made(_GivenAlone, given)


def _made(kind: type[Settings], given: Mapping[str, Any]) -> Settings:
    try:
        return kind(**given)
    except ValidationError as error:
        problem = "\n".join(_line(problem) for problem in error.errors())
    except UnreadableSettingsError as error:
        problem = _unreadable(str(error))
    except (OSError, TOMLDecodeError) as error:
        problem = f"{_config_file()}: {error}"
    raise SettingsError(problem)  # not `from`: a traceback would show values, passwords with them


def _config_file() -> Path | None:
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise SettingsError(
                f"{CONFIG_VARIABLE} = {named!r}: expected a TOML file; there is none"
            )
        return Path(named)
    return DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None


def _refuse_unknown_variables() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {CONFIG_VARIABLE}
    given = {name for name in os.environ if name.startswith(PREFIX)} - {_CALLERS_VARIABLE}
    unknown = sorted(given - known)
    if unknown:
        raise SettingsError(
            "\n".join(
                f"{name}: no such setting; expected one of " + ", ".join(sorted(known))
                for name in unknown
            )
        )


def _line(problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    value = f" = {redacted(repr(problem['input']))}"
    if problem["type"] == "extra_forbidden":
        value = ""  # a password, perhaps
        expected = "no such setting; expected one of " + ", ".join(sorted(Settings.model_fields))
    else:
        expected = problem["msg"].removeprefix("Value error, ")
    if name in _URLS:
        value = ""  # the message has as much of it as may be shown
    return f"{name}{value}: {expected}"


def _unreadable(problem: str) -> str:
    """The line for a variable that was to hold JSON; pydantic's names the field only."""
    for name in Settings.model_fields:
        if f'"{name}"' in problem:
            variable = PREFIX + name.upper()
            value = redacted(os.environ.get(variable, ""))
            return f"{variable} = {value!r}: expected JSON, such as {_EXAMPLES[name]}"
    return problem
