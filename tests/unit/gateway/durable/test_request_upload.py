"""Errors of an upload that runs in the background."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest

from forebay.deadline import Deadline
from forebay.errors import ForebayError, InternalFault
from forebay.v1 import call_pb2
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.settings import load_settings
from forebay_gateway.admission.admission import Admission
from forebay_gateway.durable.item_sequence import ItemSequence
from forebay_gateway.durable.ledger_retry import LedgerRetry
from forebay_gateway.durable.request_upload import RequestUpload
from forebay_gateway.durable.watch import Watch
from forebay_gateway.rpc.incoming import IncomingCall
from forebay_gateway.rpc.options import CallOptions
from tests.unit.samples import method, uncounted


async def failing(error: Exception) -> AsyncIterator[bytes]:
    raise error
    yield b""  # makes this a generator


async def upload_error(error: Exception) -> ForebayError | None:
    """The error that the watch gets if the request stream raises `error`."""
    watch = Watch(CallKey("call"), ItemSequence())
    ledger = Ledger("redis://127.0.0.1:1")  # never connected
    with Admission(max_calls=1, max_held_bytes=1 << 20).admit("caller") as permit:
        options = CallOptions(
            None, 0, detach=False, priority=0, forwarded_metadata=call_pb2.Metadata()
        )
        requests = failing(error)
        deadline = Deadline.after(None)
        incoming = IncomingCall(
            method("MatMul"), options, deadline, None, requests, permit, uncounted()
        )
        upload = RequestUpload(
            watch,
            incoming,
            ledger=ledger,
            settings=load_settings(),
            ledger_retry=LedgerRetry(),
        )
        async with upload.in_background():
            await watch.wait(0.2)
    await ledger.close()
    try:
        watch.raise_if_upload_failed()
    except ForebayError as failure:
        return failure
    return None


async def test_a_bug_is_logged_and_fails_the_upload(caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(await upload_error(ValueError("a bug")), InternalFault)
    assert "can't be received" in caplog.text


async def test_an_upload_whose_rpc_has_ended_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await upload_error(grpc.aio.AbortError("Locally aborted.")) is None
    assert not caplog.text
