"""A method whose ends a task of the same application writes into a file, `TOLD_FILE`."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import grpc
from grpc_channelz.v1 import channelz_pb2 as channelz
from grpc_channelz.v1.channelz_pb2_grpc import ChannelzServicer

from forebay_workers import application
from tests.told.servers import ABORTS, SLEEPS


class Channelz(ChannelzServicer):  # type: ignore[misc]
    """Knows all servers but one."""

    def GetServer(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.server_id == ABORTS:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such server")
        give_up_at = time.monotonic() + (request.server_id - SLEEPS) / 1000
        while context.is_active() and time.monotonic() < give_up_at:
            time.sleep(0.01)
        if not context.is_active():
            time.sleep(3.0)  # the ledger's deadline is later, by how long its answer took
        return channelz.GetServerResponse()


app = application("told")
app.register(Channelz())


def ended(ending: dict[str, Any]) -> None:
    """Writes what it is told as a line of JSON."""
    with open(os.environ["TOLD_FILE"], "a", encoding="utf-8") as file:
        file.write(json.dumps(ending) + "\n")


app.task(ended, name="told.ended")  # type: ignore[call-overload]
