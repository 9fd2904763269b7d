"""Runs a page of the documentation as a reader would who follows every step.

A fenced block with a title is a file. The reader writes the file; if an earlier block or the
repository has one of that name already, the block must be a part of it. Of the blocks without a
title, `python` is a program, `sh` holds commands, and `text` is the expected output of the block
above it. A command that should fail has a comment (`# exit code 1`). A command that serves runs
until the reader is closed; `text` below it is what it prints at its start, among other lines.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.commands import run
from tests.harness import Process, process

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

_FENCED = re.compile(r'^( *)```(\w+)(?: title="(.+?)")?\n(.*?)^\1```$', re.MULTILINE | re.DOTALL)
_SERVES = re.compile(r"^([A-Z_]+=\S+ )*(forebay (up|gateway)|celery .* (worker|beat)|prometheus)\b")
_READY = {
    "celery": r" ready\.|beat: Starting",
    "forebay": r"ready on \S+",
    "prometheus": "Server is ready to receive web requests",
}
_EXIT_CODE = re.compile(r"# exit code (\d+)$")
_EXPORT = re.compile(r"export (\w+)=(.*?)(?: +#.*)?")


@dataclass(frozen=True)
class Block:
    """A fenced block. `place` is PAGE:LINE; `title` is empty if the block has none."""

    place: str
    language: str
    title: str
    text: str


def blocks(page: Path, section: str = "") -> Iterator[Block]:
    """The fenced blocks of a page, or of its section with this heading (of level 2), in order."""
    markdown = page.read_text()
    start, end = 0, len(markdown)
    if section:
        start = markdown.index(f"\n## {section}\n") + 1
        end = markdown.find("\n## ", start) + 1 or end
    for match in _FENCED.finditer(markdown, start, end):
        indent, language, title, text = match.groups()
        line = markdown.count("\n", 0, match.start()) + 1
        text = re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)
        yield Block(f"{page.name}:{line}", language, title or "", text)


class Reader:
    """Follows pages in a folder. `instead` maps the pages' addresses to the test's.

    `running` are commands that serve already. The context's exit ends what the reader started.
    """

    def __init__(
        self,
        folder: Path,
        env: Mapping[str, str],
        instead: Mapping[str, str],
        running: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.env = dict(env)
        self._instead = instead
        self._running = running
        self._printed = ""
        self._server: Process | None = None
        self._started = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    def read(self, page: Path, section: str = "") -> None:
        """Runs the page, or one section; fails the test if a result differs from the page's."""
        for block in blocks(page, section):
            text = self._here(block.text)
            if block.language in ("python", "sh"):
                self._server = None
            if block.title:
                self._file(block, text)
            elif block.language == "python":
                self._printed = self._run(block, sys.executable, "-W", "error", "-c", text)
            elif block.language == "sh":
                self._printed = "".join(self._command(block, line) for line in _lines(text))
            elif block.language == "text" and self._server is not None and not self._printed:
                self._server.wait_for(_expected(text))
            elif block.language == "text":
                assert re.fullmatch(_expected(text), f"{self._printed.strip()}\n"), (
                    f"{block.place}: expected\n{text}\nbut it printed\n{self._printed}"
                )
            else:
                raise AssertionError(f"{block.place}: unknown language {block.language}")

    def _here(self, text: str) -> str:
        for theirs, ours in self._instead.items():
            text = text.replace(theirs, ours)
        return text

    def _file(self, block: Block, text: str) -> None:
        for known in (self.folder / block.title, ROOT / block.title):
            if known.exists():
                assert text in known.read_text(), f"{block.place}: no part of {block.title}"
                return
        (self.folder / block.title).write_text(text)

    def _command(self, block: Block, line: str) -> str:
        if export := _EXPORT.fullmatch(line):
            self.env[export[1]] = export[2].strip("'")
            return ""
        if line in self._running:
            return ""
        if serves := _SERVES.match(line):
            program = serves[2].split()[0]
            shell = ("sh", "-c", f"exec env {line}")
            server = process(*shell, env=self.env, cwd=self.folder)
            self._server = self._started.enter_context(server)
            self._server.wait_for(_READY[program])
            self._running = (*self._running, line)
            return ""
        return self._run(block, "sh", "-c", line)

    def _run(self, block: Block, *command: str) -> str:
        done = run(*command, env=self.env, cwd=self.folder)
        code = _EXIT_CODE.search(command[-1])
        expected = int(code[1]) if code else 0
        assert done.code == expected, f"{block.place}: exit code {done.code}:\n{done.out}{done.err}"
        return done.out + (done.err if expected else "")


def _expected(text: str) -> str:
    """A pattern for the output: a line `…` matches any lines, `…` within a line any text."""
    return "".join(
        r"(?:.*\n)*" if line.strip() == "…" else re.escape(line).replace("…", ".*") + r"\n"
        for line in text.splitlines()
    )


def _lines(text: str) -> list[str]:
    """The commands; lines that end in a backslash are joined."""
    lines = text.replace("\\\n", "").splitlines()
    return [line for line in lines if line and not line.startswith("#")]
