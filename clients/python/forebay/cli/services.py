"""The methods and messages of a gateway, for commands.

Commands take them from `--service` if it is given, and otherwise from the gateway's reflection, so
that they need no descriptors of their own. If the gateway has no reflection, they read the setting
`services`.
"""

from __future__ import annotations

from collections.abc import Sequence

import click
from google.protobuf.descriptor_pool import DescriptorPool

from forebay.cli.connection import Server
from forebay.cli.ctrl_c import CancelOnCtrlC
from forebay.cli.message_json import COMPILED
from forebay.cli.reflection import reflected
from forebay.cli.shared_settings import Services, read_services
from forebay.routes import Method, RouteError
from forebay.routes.file import usable_routes
from forebay.routes.sources import SourceError, read_all_methods, read_source


def methods_of(
    server: Server, given: Sequence[str], routes: str | None, ctrl_c: CancelOnCtrlC
) -> tuple[Method, ...]:
    """The methods that have a route, in an option of the .proto file or in the file `routes`.

    Raises ClickException, and `grpc.RpcError`.
    """
    try:
        found = None if given else reflected(server, ctrl_c, usable_routes(routes))
        if found is not None:
            return found.methods
        sources = _sources(given)
        return read_all_methods(sources.names, sources.setting, routes)
    except RouteError as error:
        raise click.ClickException(str(error)) from error


def pools_of(
    server: Server, given: Sequence[str], ctrl_c: CancelOnCtrlC
) -> tuple[DescriptorPool, ...]:
    """The descriptor pools of the messages. Raises ClickException and `grpc.RpcError`."""
    found = None if given else reflected(server, ctrl_c)
    if found is not None:
        return (found.pool, *COMPILED)
    sources = _sources(given)
    pools = list(COMPILED)
    for name in sources.names:
        try:
            pools.append(read_source(name).pool)
        except SourceError as error:
            raise click.ClickException(f"{sources.setting} = {name!r}: {error}") from error
    return tuple(dict.fromkeys(pools))


def _sources(given: Sequence[str]) -> Services:
    return Services(tuple(given), "--service") if given else read_services()
