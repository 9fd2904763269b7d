"""Makes a new project's files from its name. Pure, except for reading the template."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from string import Template

_SUFFIX = ".template"
_OWN_FOLDERS = frozenset({"protos", "tests"})


class NameRefused(ValueError):
    """The name can't be a project's; the message says why."""


class _Template(Template):
    delimiter = "%"  # Makefiles are full of $


def checked_name(name: str) -> str:
    """Returns the name; raises NameRefused if it can't be a project's.

    It becomes the name of a Python package, a protobuf package, a queue and a distribution.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise NameRefused(
            f"{name!r}: expected a Python package's name: lower-case letters, digits and single "
            "underscores between them, a letter first, such as weather or order_book"
        )
    if keyword.iskeyword(name):
        raise NameRefused(f"{name!r} is a keyword of Python; choose another name")
    if name in _OWN_FOLDERS:
        raise NameRefused(f"{name!r} is a folder of every project; choose another name")
    return name


def project_files(name: str, version: str, source: str) -> dict[str, str]:
    """The text of each file, by its path within the project.

    `version` is Forebay's; `source` are the arguments with which pip installs it.
    """
    class_name = "".join(part.capitalize() for part in name.split("_"))
    words = {
        "name": name,
        "class_name": class_name.removesuffix("Service") or class_name,
        "service": class_name.removesuffix("Service") + "Service",
        "version": version,
        "forebay": source.replace("$", "$$").replace("#", r"\#"),  # for a Makefile
    }
    return {
        path.removesuffix(_SUFFIX).replace("NAME", name): _Template(text).substitute(words)
        for path, text in _texts(files(__package__) / "template", "")
    }


def proto_path(name: str) -> str:
    """The path of the project's .proto file below `protos`."""
    return f"{name}/v1/{name}.proto"


def _texts(folder: Traversable, path: str) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _texts(entry, f"{path}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            yield f"{path}{entry.name}", entry.read_text(encoding="utf-8")
