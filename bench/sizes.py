"""Sizes of the packages at a revision: `python -m bench.sizes [REVISION...]`, by default HEAD.

Generated code and templates of new services are left out. A file counts with all its lines, a
function from its `def` to its last line.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

PACKAGES = {
    "client": "clients/python/forebay",
    "backends": "(?:backends/forebay_backends|ledger/forebay_ledger)",  # the second: the old name
    "gateway": "gateway/forebay_gateway",
    "workers": "workers/forebay_workers",
}
_LEFT_OUT = re.compile(r"_pb2|/template/")


class Size(NamedTuple):
    """Sizes of one package: two numbers of files, then three sizes in lines."""

    top_level_files: int
    files: int
    median_file: int
    largest_file: int
    largest_function: int


def size_of(sources: dict[str, str], folder: str) -> Size:
    """The sizes of the package whose folder matches the regular expression `folder`."""
    inside = re.compile(rf"{folder}/(.+\.py)")
    package = {
        match[1]: source
        for path, source in sources.items()
        if (match := inside.fullmatch(path)) and not _LEFT_OUT.search(path)
    }
    lines = [source.count("\n") for source in package.values()]
    largest_function = max(size for source in package.values() for size in _functions(source))
    top_level = sum("/" not in path for path in package)
    return Size(top_level, len(package), round(median(lines)), max(lines), largest_function)


def _functions(source: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1


def sources_of(revision: str) -> dict[str, str]:
    """The Python files of a revision, by path."""
    archive = subprocess.run(["git", "archive", revision], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = {one.name: tar.extractfile(one) for one in tar if one.name.endswith(".py")}
        return {path: file.read().decode() for path, file in members.items() if file is not None}


def main() -> None:
    """Prints a table in Markdown."""
    print("| package | revision | top-level files | files | median file | largest | function |")
    print("| --- " * 7, end="|\n")
    every = {revision: sources_of(revision) for revision in sys.argv[1:] or ["HEAD"]}
    for package, folder in PACKAGES.items():
        for revision, sources in every.items():
            cells = (package, revision, *size_of(sources, folder))
            print("|", *(f"{cell} |" for cell in cells))


if __name__ == "__main__":
    main()
