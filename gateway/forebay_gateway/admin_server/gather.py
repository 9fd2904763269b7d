"""Collects the metrics of several gateway processes, each over its Unix socket.

A process that was killed leaves no value behind, because it does not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from forebay_backends.metrics.exposition import content_type_of, merged
from forebay_gateway.admin_server.app import FLEET, PROCESS, READYZ

PROOF = "forebay-process-proof"
"""The header that only this gateway's processes send; requests of callers are relayed, too."""

_TIMEOUT_S = 2.0
_MOST_BYTES = 64 << 20


class Processes:
    """The gateway processes behind these Unix sockets."""

    def __init__(self, sockets: Sequence[Path]) -> None:
        self._sockets = sockets

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """The metrics of all processes that answer, and the fleet's by the first of them."""
        answers = await asyncio.gather(
            self._fleet(accept), *(_get(path, PROCESS, accept) for path in self._sockets)
        )
        fleet, *own = answers
        texts = [text for text in (*own, fleet) if text is not None]
        return merged(texts), content_type_of(accept)

    async def answers(self, target: str, secret: str = "") -> list[bytes]:
        """The answers of the processes that answer a GET; `secret` is the proof."""
        answers = await asyncio.gather(*(_get(path, target, "", secret) for path in self._sockets))
        return [answer for answer in answers if answer is not None]

    async def _fleet(self, accept: str) -> bytes | None:
        for path in self._sockets:
            text = await _get(path, FLEET, accept)
            if text is not None:
                return text
        return None

    async def is_ready(self) -> bool:
        """Whether any process is ready."""
        answers = await asyncio.gather(*(_get(path, READYZ, "") for path in self._sockets))
        return any(answer is not None for answer in answers)


async def _get(path: Path, target: str, accept: str, secret: str = "") -> bytes | None:
    """The body of a response 200; None for any other, and if the process does not answer."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                head = f"GET {target} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n"
                head += f"{PROOF}: {secret}\r\n" if secret else ""
                writer.write(f"{head}accept: {accept}\r\n\r\n".encode("latin-1"))
                response = await reader.read(_MOST_BYTES)
                while more := await reader.read(_MOST_BYTES):
                    response += more
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    status, _, rest = response.partition(b"\r\n")
    _, _, body = rest.partition(b"\r\n\r\n")
    return body if status.split(b" ")[1:2] == [b"200"] else None
