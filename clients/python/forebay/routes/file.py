"""A file with routes for services whose `.proto` belongs to others.

For example:

    ["grpc.channelz.v1.Channelz.GetServer"]
    task = "channelz.get_server"
    queue = "channelz"
    idempotency_level = "NO_SIDE_EFFECTS"

Each table is for the method whose full name it has; without quotes, the name's parts are nested
tables, which are read the same way. Its fields are those of `forebay.v1.Route`, and
`idempotency_level`, for methods whose `.proto` does not set it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2

from forebay.routes.fields import fill, suggestion
from forebay.routes.problems import RouteError
from forebay.v1 import route_pb2

MAX_FILE_BYTES = 4 << 20

_LEVEL = "idempotency_level"
_Levels = descriptor_pb2.MethodOptions.IdempotencyLevel
_FORM = '["package.Service.Method"]'


@dataclass(frozen=True)
class FileRoute:
    """The table of one method; `problems` has a line for each field that can't be used."""

    option: route_pb2.Route
    idempotency_level: int = _Levels.Value("IDEMPOTENCY_UNKNOWN")
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class RouteFile:
    """The routes of a file, by the method's full name; `problems` are those of the whole file."""

    name: str = ""
    routes: Mapping[str, FileRoute] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def services(self) -> frozenset[str]:
        """The full names of the services that its methods belong to."""
        return frozenset(method.rpartition(".")[0] for method in self.routes)

    def all_problems(self) -> list[str]:
        """A line for each problem that the file has without regard to any service."""
        return [
            *(f"{self.name}: {problem}" for problem in self.problems),
            *(
                f"{self.name}: {method}: {problem}"
                for method, route in self.routes.items()
                for problem in route.problems
            ),
        ]


NO_ROUTES = RouteFile()


def read_route_file(path: str | Path | None) -> RouteFile:
    """Reads a TOML file, None as an empty one. Its problems are among what it returns."""
    if path is None:
        return NO_ROUTES
    try:
        with open(path, "rb") as opened:
            raw = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return _unusable(path, f"the routes can't be read: {error.strerror}")
    if len(raw) > MAX_FILE_BYTES:
        return _unusable(path, f"the file is over {MAX_FILE_BYTES} bytes, too large for routes")
    try:
        return _routes(str(path), tomllib.loads(raw.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        return _unusable(path, f"the file is not TOML: {error}")


def usable_routes(path: str | Path | None) -> RouteFile:
    """Like `read_route_file`; raises RouteError with all problems of the file."""
    routes = read_route_file(path)
    problems = routes.all_problems()
    if problems:
        raise RouteError(problems)
    return routes


def _unusable(path: str | Path, problem: str) -> RouteFile:
    return RouteFile(str(path), problems=(problem,))


def _routes(name: str, tables: Mapping[str, Any]) -> RouteFile:
    routes: dict[str, FileRoute] = {}
    problems = []
    for method, table in _method_tables("", tables):
        if not isinstance(table, dict):
            problems.append(f"`{method}` is in no method's table; put it under {_FORM}")
        elif method in routes:
            problems.append(f"{method} has two tables; remove one")
        else:
            routes[method] = _route(table)
    return RouteFile(name, routes, tuple(problems))


def _method_tables(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The tables of methods, by name; a quoted name is one key, any other is one key a part."""
    for key, value in table.items():
        is_part = (
            isinstance(value, dict)
            and "." not in key
            and bool(value)
            and all(isinstance(inner, dict) for inner in value.values())
        )
        if is_part:
            yield from _method_tables(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", value


def _route(table: Mapping[str, Any]) -> FileRoute:
    option = route_pb2.Route()
    fields = {name: value for name, value in table.items() if name != _LEVEL}
    problems = list(fill(option, fields, more_names=(_LEVEL,)))
    level = table.get(_LEVEL, "IDEMPOTENCY_UNKNOWN")
    if level not in _Levels.keys():  # noqa: SIM118 - no dict
        names = _Levels.keys()
        problems.append(
            f"`{_LEVEL}` is {level!r}; set one of {', '.join(names)}{suggestion(level, names)}"
        )
        level = "IDEMPOTENCY_UNKNOWN"
    return FileRoute(option, _Levels.Value(level), tuple(problems))
