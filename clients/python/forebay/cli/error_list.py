"""`forebay errors`: which errors calls ended with in the last hour."""

from __future__ import annotations

from datetime import UTC, datetime

import click
from google.rpc import code_pb2
from rich.console import Console

from forebay.cli.call_names import Tenants, shown_id
from forebay.cli.call_rows import duration
from forebay.cli.gateway import gateway_at
from forebay.cli.options import all_tenants_option, json_option, target_option, tenant_option
from forebay.cli.tables import Row, show, show_json
from forebay.cli.target import Target
from forebay.v1 import calls_pb2 as pb

COLUMNS = ("method", "status", "reason", "count", "last", "call", "message")


@click.command()
@target_option()
@click.option(
    "--method", metavar="NAME", default="", help="Only errors of this method, such as Add."
)
@tenant_option
@all_tenants_option
@json_option
def errors(
    target: Target, method: str, tenant: str | None, all_tenants: bool, as_json: bool
) -> None:
    """Show the errors of the last hour by method and reason, the latest first, with a sample.

    They are those of the gateway's RPCs, also of ephemeral calls and plain tasks. If the output is
    not a terminal, rows are tab-separated.
    """
    is_whole = "." in method
    with gateway_at(target, Tenants(tenant, all_tenants)) as gateway:
        found = gateway.errors(method if is_whole else "")
    if method and not is_whole:
        found = [one for one in found if one.method.rpartition(".")[2] == method]
    if as_json:
        show_json(map(error_json, found))
    else:
        now_s = datetime.now(UTC).timestamp()
        show(Console(), COLUMNS, (error_row(one, now_s) for one in found))


def error_row(error: pb.ErrorSample, now_s: float) -> Row:
    return (
        error.method,
        _status(error.code),
        error.reason,
        str(error.count),
        f"{duration(now_s - error.last_time.ToMilliseconds() / 1000)} ago",
        shown_id(error.calls[0]) if error.calls else "-",
        error.message,
    )


def error_json(error: pb.ErrorSample) -> dict[str, object]:
    return {
        "method": error.method,
        **({"tenant": error.tenant} if error.tenant else {}),
        "status": _status(error.code),
        "reason": error.reason or None,
        "count": error.count,
        "first_time": error.first_time.ToJsonString(),
        "last_time": error.last_time.ToJsonString(),
        "calls": [shown_id(name) for name in error.calls],
        "message": error.message,
    }


def _status(code: int) -> str:
    return code_pb2.Code.Name(code) if code in code_pb2.Code.values() else str(code)
