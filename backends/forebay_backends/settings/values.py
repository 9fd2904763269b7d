"""The types of values that several settings have, with their validation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, StringConstraints
from pydantic_core import PydanticCustomError

from forebay.deadline import clamped_s
from forebay.secret_texts import is_secret
from forebay_backends.urls import broker_server, is_redis, redis_server

CONTENT_OF_FILE = "content_of_file"
"""The type of error for a file's content in the place of its name; the value is not shown."""
RPC = "rpc://"
"""Celery's name of the result backend that sends results through a queue on the broker."""


def _broker_url(value: str) -> str:
    return broker_server(value).url


def _result_url(value: str) -> str:
    if value.rstrip("/") == RPC.rstrip("/"):
        return RPC
    if not is_redis(value):
        return value
    server = redis_server(value)
    if server.is_cluster:
        raise ValueError("Celery keeps no results in a Redis Cluster; name another Redis")
    return server.url


def _whole_path(value: Path) -> Path:
    if is_secret(str(value)):
        raise PydanticCustomError(CONTENT_OF_FILE, "expected the name of a file, not its content")
    try:
        return value.expanduser().absolute()
    except RuntimeError:
        raise ValueError("no user of this name has a home folder here") from None


def _readable(value: Path) -> Path:
    path = _whole_path(value)
    if not os.access(path, os.R_OK) or not path.is_file():
        raise ValueError("expected a PEM file that this user can read")
    return path


Seconds = Annotated[float, AfterValidator(clamped_s)]
BrokerUrl = Annotated[str, AfterValidator(_broker_url)]
ResultUrl = Annotated[str, AfterValidator(_result_url)]
WholePath = Annotated[Path, AfterValidator(_whole_path)]
PemFile = Annotated[Path, AfterValidator(_readable)]
KeyPrefix = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:/-]{0,64}$")]
