"""The gateways that a command connects to, over TLS or in plain text, and the token it sends.

TLS is the default unless all addresses are loopback, and always if a CA or a certificate is given.
Files are read when the command connects, not when its options are parsed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from forebay.loopback import is_loopback
from forebay.resume.targets import read_targets
from forebay.secret_texts import is_secret

if TYPE_CHECKING:
    import grpc


@dataclass(frozen=True)
class Target:
    """The values of `--target`, `--ca` and the other options of the connection.

    `str` returns the addresses.
    """

    addresses: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token_file: Path | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError for options that don't go together."""
        for option, path in self._files.items():
            if path is not None and is_secret(str(path)):
                raise click.UsageError(f"{option}: expected the name of a file, not its content")
        if (self.certificate is None) != (self.key is None):
            raise click.UsageError("--cert and --key need each other")
        if self.token_file is not None and not self.is_secure and not self._is_local:
            raise click.UsageError(
                f"a token for {self} needs TLS, or others could read it: leave out --insecure"
            )

    def __str__(self) -> str:
        return self.addresses

    @property
    def options(self) -> str:
        """The options with which another command connects to the same gateways."""
        given = {"--target": self.addresses, **self._files}
        words = [
            word for name, value in given.items() if value for word in (name, quote(str(value)))
        ]
        return " ".join([*words, *(["--insecure"] if self.insecure else [])])

    @property
    def is_secure(self) -> bool:
        """Whether the connection is over TLS."""
        given = self.ca is not None or self.certificate is not None
        return not self.insecure and (given or not self._is_local)

    def credentials(self) -> grpc.ChannelCredentials | None:
        """None for plain text. Raises ClickException if a file can't be read."""
        import grpc

        if not self.is_secure:
            return None
        return grpc.ssl_channel_credentials(
            None if self.ca is None else _read(self.ca, "--ca"),
            None if self.key is None else _read(self.key, "--key"),
            None if self.certificate is None else _read(self.certificate, "--cert"),
        )

    def token(self) -> Callable[[], str] | None:
        """A function that reads the token's file on each call; None without `--token-file`.

        Raises ClickException if the file is empty or can't be read now.
        """
        path = self.token_file
        if path is None:
            return None
        if not _read(path, "--token-file").strip():
            raise click.ClickException(f"--token-file {path}: it is empty")
        return lambda: path.read_text(encoding="utf-8").strip()

    @property
    def _files(self) -> dict[str, Path | None]:
        files = {"--ca": self.ca, "--cert": self.certificate, "--key": self.key}
        return {**files, "--token-file": self.token_file}

    @property
    def _is_local(self) -> bool:
        return all(map(is_loopback, read_targets(self.addresses)))


def _read(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise click.ClickException(f"{option} {path}: {error.strerror}") from error
