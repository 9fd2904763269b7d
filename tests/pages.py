"""Reading a page of the documentation as somebody would who does all that it says.

A fenced block with a title is a file: it is written or, where there is one of that name already,
from an earlier block or in the repository, it is a part of it. Of the others, `python` is a
program, `sh` are commands, and `text` is what the block above printed. A command fails where its
comment says so (`# exit code 1`); one that serves goes on until the reader leaves.
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
from tests.harness import process

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

_FENCED = re.compile(r'^( *)```(\w+)(?: title="(.+?)")?\n(.*?)^\1```$', re.MULTILINE | re.DOTALL)
_SERVES = re.compile(r"^([A-Z_]+=\S+ )*(forebay (up|gateway)|celery .* worker)\b")
_READY = {"celery": r" ready\.", "forebay": r"ready on \S+"}
_EXIT_CODE = re.compile(r"# exit code (\d+)$")
_EXPORT = re.compile(r"export (\w+)=(.*?)(?: +#.*)?")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, its language, its title (empty where it has none), its text."""

    place: str
    language: str
    title: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, from its top to its end."""
    markdown = page.read_text()
    for match in _FENCED.finditer(markdown):
        indent, language, title, text = match.groups()
        line = markdown.count("\n", 0, match.start()) + 1
        text = re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)
        yield Block(f"{page.name}:{line}", language, title or "", text)


class Reader:
    """Follows pages in a folder. `instead` says what stands for the pages' addresses.

    `running` are commands that serve already. Leave it as a context, to end what it started.
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
        self._started = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    def read(self, page: Path) -> None:
        """Does what the page says; fails the test where something else comes of it."""
        for block in blocks(page):
            text = self._here(block.text)
            if block.title:
                self._file(block, text)
            elif block.language == "python":
                self._printed = self._run(block, sys.executable, "-W", "error", "-c", text)
            elif block.language == "sh":
                self._printed = "".join(self._command(block, line) for line in _lines(text))
            elif block.language == "text":
                assert re.fullmatch(_expected(text), f"{self._printed.strip()}\n"), (
                    f"{block.place}: expected\n{text}\nbut it printed\n{self._printed}"
                )
            else:
                raise AssertionError(f"{block.place}: what is to be done with {block.language}?")

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
            self._started.enter_context(server).wait_for(_READY[program])
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
    """A pattern for what is printed: `…` is any lines where it is one, any text within one."""
    return "".join(
        r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + r"\n"
        for line in text.splitlines()
    )


def _lines(text: str) -> list[str]:
    """The commands, those on several lines joined."""
    lines = text.replace("\\\n", "").splitlines()
    return [line for line in lines if line and not line.startswith("#")]
