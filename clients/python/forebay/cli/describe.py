"""`forebay describe METHOD`: the request and response messages of a method."""

from __future__ import annotations

import click

from forebay.cli.gateway import gateway_at
from forebay.cli.method_names import find_method
from forebay.cli.options import target_option
from forebay.cli.proto_text import method_text
from forebay.cli.target import Target
from forebay.routes.sources import SourceError, source_of_files


@click.command()
@click.argument("method")
@target_option()
def describe(method: str, target: Target) -> None:
    """Show the messages of METHOD, such as Add or forebay.compute.v1.ComputeService.Add.

    They are the gateway's own, in the syntax of .proto files, without comments. METHOD must be one
    that you may call.
    """
    with gateway_at(target) as gateway:
        name = find_method(method, gateway.who_am_i().methods)
        described = gateway.description(name)
    try:
        pool = source_of_files(name, {file.name: file for file in described.files.file}).pool
    except SourceError as error:
        raise click.ClickException(f"{name}: the gateway's description {error}") from error
    click.echo(method_text(pool.FindMethodByName(name)))
