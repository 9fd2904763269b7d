"""Which front serves, with ngh2 and without."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import pytest

from forebay_gateway.fronts.choice import FrontMissing, Kind, make_front
from tests.contract.fronts.site import LIMITS

FIND: Any = None


@pytest.fixture
def no_ngh2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ngh2 can't be imported."""
    monkeypatch.setitem(sys.modules, "ngh2", None)
    monkeypatch.delitem(sys.modules, "forebay_gateway.fronts.native.http2", raising=False)


async def made(kind: Kind) -> str:
    front = make_front(kind, FIND, "127.0.0.1:0", LIMITS, reuse_port=False)
    await front.start()
    await front.stop(0)
    return type(front).__name__


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("auto", "NativeFront"), ("native", "NativeFront"), ("grpc", "ReplacedServer")],
)
async def test_auto_is_native_where_ngh2_is(
    kind: Kind, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert await made(kind) == expected
    assert not caplog.records


@pytest.mark.usefixtures("no_ngh2")
async def test_auto_is_grpc_without_ngh2_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert await made("auto") == "ReplacedServer"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "ngh2" in record.getMessage()


@pytest.mark.usefixtures("no_ngh2")
async def test_grpc_needs_no_ngh2(caplog: pytest.LogCaptureFixture) -> None:
    assert await made("grpc") == "ReplacedServer"
    assert not caplog.records


async def test_another_version_of_ngh2_that_lacks_a_name_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("ngh2.Configuration")
    monkeypatch.delitem(sys.modules, "forebay_gateway.fronts.native.http2", raising=False)
    assert await made("auto") == "ReplacedServer"


@pytest.mark.usefixtures("no_ngh2")
def test_a_front_that_is_asked_for_and_missing_is_an_error() -> None:
    with pytest.raises(FrontMissing, match="ngh2"):
        make_front("native", FIND, "127.0.0.1:0", LIMITS, reuse_port=False)


async def test_auto_is_grpc_where_native_does_not_listen(caplog: pytest.LogCaptureFixture) -> None:
    front = make_front(
        "auto", FIND, f"unix-abstract:forebay-{os.getpid()}:1", LIMITS, reuse_port=False
    )
    assert type(front).__name__ == "ReplacedServer"
    assert "unix-abstract" in caplog.text
    await front.stop(0)
    with pytest.raises(FrontMissing, match="vsock"):
        make_front("native", FIND, "vsock:1:1", LIMITS, reuse_port=False)
