"""The settings of what a gateway serves, and where."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from forebay.defaults import LISTEN, SERVICES
from forebay.routes.plain import ExceptionStatus
from forebay_backends.settings.addresses import is_host_and_port, is_loopback, is_socket_path
from forebay_backends.settings.values import Seconds

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LOG_FORMATS = ("text", "json")
_NAME = r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?"
_HOST = re.compile(rf"{_NAME}|\*")
_ORIGIN = re.compile(rf"[a-z][a-z0-9+.-]*://(?:{_NAME}|\[[0-9a-f:.]+\])(?::[0-9]{{1,5}})?|\*")


class ServingSettings(BaseModel):
    """Address, services and processes of a gateway."""

    listen: str = Field(LISTEN, description="HOST:PORT that the gateway listens on")
    admin_listen: str | None = Field(
        None,
        description="HOST:PORT or unix:PATH for operators: the page, `/metrics`, `/healthz`, "
        "`/readyz`; loopback only",
    )
    web_listen: str | None = Field(
        None,
        description="HOST:PORT or unix:PATH that serves browsers and other clients of HTTP/1.1; "
        "unset: none, but 127.0.0.1:8080 under `forebay up`",
    )
    web_hosts: tuple[str, ...] = Field(
        (),
        description="names in the `Host` header that `web_listen` answers to, besides addresses "
        "and localhost; `*`: any",
    )
    web_origins: tuple[str, ...] = Field(
        (),
        description="origins whose pages may call `web_listen` (CORS), such as "
        "`https://app.example`; `*`: any",
    )
    page: Literal["on", "read-only", "off"] = Field(
        "on",
        description="operators' page at `/` of `admin_listen`; `read-only`: it can't cancel, "
        "delete or call anything; `off`: there is none",
    )
    page_hosts: tuple[str, ...] = Field(
        (),
        description="names in the `Host` header that the page answers to, besides addresses and "
        "localhost; `*`: any",
    )
    front: Literal["auto", "native", "grpc"] = Field(
        "auto",
        description="gRPC server: `native` on nghttp2, `grpc` on grpc.aio; `auto`: `native`, or "
        "`grpc` where the package ngh2 can't be imported",
    )
    services: tuple[str, ...] = Field(
        SERVICES,
        min_length=1,
        description="compiled protobuf modules and descriptor sets to serve",
    )
    routes: Path | None = Field(
        None, description="TOML file with routes for services whose `.proto` has none"
    )
    caches: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="`cache` of routes, by the method's full name; replaces that of the `.proto`",
    )
    checks: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="options for checks, by the method's full name"
    )
    exceptions: tuple[ExceptionStatus, ...] = Field(
        (), description="statuses for exceptions of plain tasks that the route does not list"
    )
    processes: int = Field(1, ge=1, description="number of gateway processes that share the port")
    load_reports: bool = Field(
        False, description="whether trailers have ORCA load reports, for `weighted_round_robin`"
    )
    lame_duck_s: Seconds = Field(
        5.0,
        ge=0,
        description="how long a gateway accepts calls after SIGTERM, while health is NOT_SERVING",
    )
    drain_s: Seconds = Field(
        10.0, ge=0, description="time that calls in flight have to finish at shutdown"
    )
    log_level: str = Field("INFO", pattern=f"^({'|'.join(LOG_LEVELS)})$", description="log level")
    log_format: Literal["text", "json"] = Field(
        "text", description="lines of the log: `text`, or `json`, an object a line"
    )
    trace_trust: Literal["always", "authenticated", "never"] = Field(
        "authenticated",
        description="callers whose `traceparent` decides if a call is sampled; for others the "
        "gateway's own sampler does",
    )

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        if not is_host_and_port(value):
            raise ValueError("expected HOST:PORT, such as 127.0.0.1:50051 or [::1]:0")
        return value

    @field_validator("admin_listen")
    @classmethod
    def _own_loopback_address(cls, value: str | None, info: ValidationInfo) -> str | None:
        if not value:
            return None
        if not (is_host_and_port(value) or is_socket_path(value)):
            raise ValueError("expected HOST:PORT or unix:PATH, such as 127.0.0.1:50052")
        if value == info.data.get("listen") and not value.endswith(":0"):
            raise ValueError("expected another address than listen, such as 127.0.0.1:50052")
        if not is_loopback(value):
            raise ValueError(
                "expected a loopback address or unix:PATH, such as 127.0.0.1:50052: anyone who "
                "reaches the admin port can read what it shows"
            )
        return value

    @field_validator("web_listen")
    @classmethod
    def _own_address(cls, value: str | None, info: ValidationInfo) -> str | None:
        if not value:
            return None
        if not (is_host_and_port(value) or is_socket_path(value)):
            raise ValueError("expected HOST:PORT or unix:PATH, such as 127.0.0.1:8080")
        for other in ("listen", "admin_listen"):
            if value == info.data.get(other) and not value.endswith(":0"):
                raise ValueError(f"expected another address than {other}, such as 127.0.0.1:8080")
        return value

    @field_validator("web_hosts", "page_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(name.lower() for name in value)
        unfit = [name for name in names if _HOST.fullmatch(name) is None]
        if unfit:
            raise ValueError(
                f"{unfit[0]!r}: expected names without a port, such as calls.example, or `*`"
            )
        return names

    @field_validator("web_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        origins = tuple(origin.lower() for origin in value)
        unfit = [origin for origin in origins if _ORIGIN.fullmatch(origin) is None]
        if unfit:
            raise ValueError(
                f"{unfit[0]!r}: expected a scheme and a host, such as https://app.example or "
                "http://localhost:3000, or `*`"
            )
        return origins

    @field_validator("routes", mode="before")
    @classmethod
    def _empty_routes_are_unset(cls, value: object) -> object:
        return value or None

    @field_validator("exceptions")
    @classmethod
    def _exceptions(cls, value: tuple[ExceptionStatus, ...]) -> tuple[ExceptionStatus, ...]:
        problems = [problem for one in value for problem in one.problems()]
        if problems:
            raise ValueError("; ".join(problems))
        return value
