"""`forebay doctor --profile`: takes a profile of a gateway, and writes it as a flame graph."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click
import grpc
from google.protobuf.duration_pb2 import Duration

from forebay.cli.connection import server_at
from forebay.cli.ctrl_c import CancelOnCtrlC
from forebay.cli.errors import fail
from forebay.cli.target import Target
from forebay.rpc_errors import of_rpc_error
from forebay.v1.calls_pb2 import ReadProfileRequest, ReadProfileResponse
from forebay.v1.calls_pb2_grpc import CallServiceStub
from forebay_gateway.cli.flame_graph import html_of, summary_of

_ANSWER_S = 10.0


def write_profile(target: Target, seconds: float, output: Path | None) -> None:
    """Profiles the first gateway of `target` that answers; prints where the flame graph is."""
    taken_at = datetime.now().astimezone()
    path = output or Path(f"forebay-profile-{taken_at:%Y%m%d-%H%M%S}.html")
    try:
        with path.open("x" if output is None else "w", encoding="utf-8") as file:
            profile, address = _profile(target, seconds)
            file.write(html_of(profile, address, f"{taken_at:%Y-%m-%d %H:%M:%S %z}"))
    except OSError as error:
        raise click.ClickException(f"{path} can't be written: {error.strerror}") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    click.echo(f"{path}: {summary_of(profile)}")


def _profile(target: Target, seconds: float) -> tuple[ReadProfileResponse, str]:
    duration = Duration()
    duration.FromMilliseconds(round(seconds * 1000))
    try:
        with CancelOnCtrlC() as ctrl_c, server_at(target, ctrl_c) as server:
            click.echo(f"{server.target} is profiled for {seconds:g} s", err=True)
            call = CallServiceStub(server.channel).ReadProfile.future(
                ReadProfileRequest(duration=duration), timeout=seconds + _ANSWER_S
            )
            return ctrl_c.result(call), server.target
    except grpc.RpcError as error:
        fail(of_rpc_error(error), target)
