"""The reference's tables: each function makes one from its source and returns Markdown."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import entry_points
from itertools import pairwise
from typing import Any

import click
from pydantic import BaseModel

from docs.reference.protos import Declared, about, declared
from forebay import errors, metadata
from forebay.cli.group import ENTRY_POINTS
from forebay.cli.shared_settings import client_variable
from forebay_backends.ledger.keys import KEYS
from forebay_backends.ledger.record import ACTIVE, ALL, ENDED, FIELDS, Field
from forebay_backends.metrics.instruments import INSTRUMENTS, Source
from forebay_backends.settings import NESTED, PREFIX, ApplicationSettings, Settings
from forebay_backends.settings.identity_settings import JwtSettings, TlsSettings

CONNECTION = ("ca", "cert", "key", "token-file", "insecure")
_CONNECTION_FLAGS = {f"--{name}" for name in CONNECTION}
_CONNECTION_ROW = "[TLS and token](#tls-and-token) of the connection."


def protobuf(file: str, *names: str) -> str:
    """A heading and a table for each declaration of a `.proto` file, or for those in `names`."""
    known = {one.name for one in declared(file)}
    return "\n\n".join(
        _declared(one, known) for one in declared(file) if not names or one.name in names
    )


def _declared(one: Declared, known: set[str]) -> str:
    def linked(type_name: str) -> str:
        words = type_name.split()
        return " ".join(f"[{word}](#{word.lower()})" if word in known else word for word in words)

    header = (one.kind, "description") if one.kind == "value" else (one.kind, "type", "description")
    rows = [
        [cell for cell in (f"`{entry.name}`", linked(entry.type), _line(entry.comment)) if cell]
        for entry in one.entries
    ]
    table = f"\n\n{_table(header, rows)}" if rows else ""
    return f"## {one.name}\n\n{inspect.cleandoc(one.comment)}{table}"


def head(file: str) -> str:
    """The comment at the head of a `.proto` file."""
    return inspect.cleandoc(about(file))


def reasons() -> str:
    """The reasons of `errors.proto`, each with its classes in `forebay.errors`."""
    (enum,) = declared("forebay/v1/errors.proto")
    rows = []
    for entry in enum.entries[1:]:  # the first is UNSPECIFIED, which no error has
        reason = entry.name.removeprefix("ERROR_REASON_")
        status, _, what = _line(entry.comment).partition(". ")
        classes = [f"`{cls.__name__}`" for cls in _errors() if cls.reason == reason]
        rows.append((f"`{reason}`", status, what, ", ".join(classes)))
    return _table(("reason", "status", "what happened", "in Python"), rows)


def families() -> str:
    """The families of `forebay.errors`, which say who must act, with their members."""
    rows = [
        (f"`{cls.__name__}`", _doc(cls), ", ".join(f"`{m.__name__}`" for m in _below(cls)))
        for cls in errors.ForebayError.__subclasses__()
    ]
    return _table(("family", "description", "its members"), rows)


def _errors() -> Iterator[type[errors.ForebayError]]:
    return _below(errors.ForebayError)


def _below(root: type[errors.ForebayError]) -> Iterator[type[errors.ForebayError]]:
    for child in root.__subclasses__():
        yield child
        yield from _below(child)


def settings() -> str:
    """The fields of `Settings`, with their defaults."""
    rows = [
        (f"`{name}`", f"`{PREFIX}{name.upper()}`", _default(field), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    return _table(("setting", "variable", "default", "description"), rows)


def application_settings() -> str:
    """The fields of `ApplicationSettings`, with their defaults."""
    return _table_settings(f"APPLICATIONS{NESTED}NAME", ApplicationSettings)


def tls_settings() -> str:
    """The fields of `[tls]`, with their defaults."""
    return _table_settings("TLS", TlsSettings)


def _table_settings(table: str, model: type[BaseModel]) -> str:
    rows = [
        (
            f"`{name}`",
            f"`{PREFIX}{table}{NESTED}{name.upper()}`",
            _default_or_required(field),
            field.description or "",
        )
        for name, field in model.model_fields.items()
    ]
    return _table(("setting", "variable", "default", "description"), rows)


def jwt_settings() -> str:
    """The fields of `JwtSettings`, with their defaults."""
    rows = [
        (f"`{name}`", _default_or_required(field), field.description or "")
        for name, field in JwtSettings.model_fields.items()
    ]
    return _table(("setting", "default", "description"), rows)


def _default_or_required(field: Any) -> str:
    return "required" if field.is_required() else _default(field)


def _default(field: Any) -> str:
    """The default as a user would set it; for a default factory, the factory's docstring."""
    if inspect.isfunction(field.default_factory):
        return _doc(field.default_factory)
    default = field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        default = default.model_dump(exclude_defaults=True)
    if default is None or default == {}:
        return "none"
    return f"`{json.dumps(default) if isinstance(default, tuple) else default}`"


def metadata_keys() -> str:
    """The keys in `forebay.metadata`, whose docstrings have the form "where: description"."""
    body = ast.parse(inspect.getsource(metadata)).body
    rows = []
    for constant, said in pairwise(body):
        match constant, said:
            case (
                ast.Assign(value=ast.Constant(value=str(key))),
                ast.Expr(value=ast.Constant(value=str(doc))),
            ):
                where, _, what = _line(doc).partition(": ")
                rows.append((f"`{key}`", where.lower(), what))
    return _table(("key", "where", "description"), rows)


def commands() -> str:
    """The subcommands of `forebay`, with the text and options that `--help` shows."""
    points = sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
    named = (named for point in points for named in _named(point.name, point.load()))
    return "\n\n".join(_command(name, command) for name, command in named)


def _named(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """The command itself or, if it is a group, its commands with their full names."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    for inner, one in sorted(command.commands.items()):
        yield from _named(f"{name} {inner}", one)


def connection_options() -> str:
    """The options of every command that calls a gateway, with their variables and settings."""
    (point,) = entry_points(group=ENTRY_POINTS, name="ps")
    command: click.Command = point.load()
    context = click.Context(command)
    rows = []
    for option in command.params:
        record = option.get_help_record(context)
        if record is not None and option.opts[0] in _CONNECTION_FLAGS:
            name = option.opts[0].removeprefix("--").replace("-", "_")
            row = (f"`{record[0]}`", f"`{client_variable(name)}`", f"`{name}`", _line(record[1]))
            rows.append(row)
    return _table(("option", "variable", "in `[client]`", "description"), rows)


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"forebay {name}")
    usage = " ".join([f"forebay {name}", *command.collect_usage_pieces(context)])
    options = [param for param in command.params if isinstance(param, click.Option)]
    rows = []
    for option in options:
        record = option.get_help_record(context)
        if option.name == "ca":
            rows.append((", ".join(f"`--{flag}`" for flag in CONNECTION), _CONNECTION_ROW))
        elif record is not None and option.opts[0] not in _CONNECTION_FLAGS:
            rows.append((f"`{record[0]}`", _line(record[1])))
    table = _table(("option", "description"), rows)
    return f"## forebay {name}\n\n    {usage}\n\n{inspect.cleandoc(command.help or '')}\n\n{table}"


def ledger_keys() -> str:
    rows = [
        (f"`{key.pattern}`", key.type, key.writer, key.lifetime or "permanent", key.meaning)
        for key in KEYS
    ]
    return _table(("key", "type", "written by", "lifetime", "description"), rows)


def ledger_record() -> str:
    """The fields of a call's record."""
    rows = [
        (
            f"`{field.name}`",
            ", ".join(filter(None, (field.type, field.unit))),
            _states(field),
            field.writer,
            field.meaning,
        )
        for field in FIELDS
    ]
    return _table(("field", "type, unit", "set in", "written by", "description"), rows)


def metrics() -> str:
    """All metrics, from the table that defines them."""
    rows = [
        (
            f"`{one.name}`",
            ", ".join(filter(None, (str(one.kind), one.unit))),
            ", ".join(f"`{label}`" for label in one.labels),
            ", ".join(str(source) for source in Source if source in one.sources),
            one.help,
        )
        for one in INSTRUMENTS
    ]
    return _table(("metric", "type, unit", "labels", "from", "description"), rows)


def _states(field: Field) -> str:
    if field.states == ALL:
        return "any state"
    if field.states == ACTIVE:
        return "active"
    words = [str(state) for state in sorted(field.states - ENDED)]
    text = ", ".join(words + (["ended"] if field.states & ENDED else []))
    return f"{text}; deleted with the lease" if field.of_claim else text


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [header, ["---"] * len(header), *rows]
    lines = (" | ".join(cell.replace("|", r"\|") for cell in row) for row in cells)
    return "\n".join(f"| {line} |" for line in lines)


def _doc(of: object) -> str:
    return _line(inspect.getdoc(of) or "")


def _line(text: str) -> str:
    """The text on one line, with `<br>` between its paragraphs."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "<br>".join(" ".join(paragraph.split()) for paragraph in paragraphs)


TABLES: dict[str, Callable[..., str]] = {
    "protobuf": protobuf,
    "head": head,
    "reasons": reasons,
    "families": families,
    "settings": settings,
    "application_settings": application_settings,
    "jwt_settings": jwt_settings,
    "connection_options": connection_options,
    "tls_settings": tls_settings,
    "metadata": metadata_keys,
    "commands": commands,
    "ledger_keys": ledger_keys,
    "ledger_record": ledger_record,
    "metrics": metrics,
}
"""The functions by the name that a page's region gives."""
