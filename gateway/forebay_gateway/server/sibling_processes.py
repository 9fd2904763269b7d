"""The processes of one gateway exchange their data, over the Unix sockets of their admin ports.

The parent chooses the sockets, in a folder of its own, and tells each process its address. It puts
a secret there: a request that has it comes from another process, not from a caller, whose requests
are relayed to the same sockets.
"""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forebay_backends.settings import Settings
from forebay_gateway.admin.siblings import Share, Siblings
from forebay_gateway.admin_server.gather import PROOF, Processes

_SHARED = "/shared"
"""What one process has, for the others."""
_PROOF_FILE = "proof"


def make_sockets(folder: Path, processes: int) -> list[Path]:
    """The sockets of the processes, in a folder that only this user can read."""
    (folder / _PROOF_FILE).write_text(secrets.token_urlsafe(32))
    return _sockets(folder, processes)


def sockets_of_processes(settings: Settings) -> list[Path]:
    """The sockets of all processes, of which this is one; none if it is the only one."""
    if settings.processes == 1:
        return []
    return _sockets(_own_socket(settings).parent, settings.processes)


def make_siblings(settings: Settings) -> Siblings:
    """Asks the other processes, if there are any."""
    sockets = sockets_of_processes(settings)
    if not sockets:
        return Siblings()
    others = Processes([path for path in sockets if path != _own_socket(settings)])
    secret = _secret(settings)
    return Siblings(lambda name, first: others.answers(f"{_SHARED}/{name}?first={first}", secret))


def shared_routes(settings: Settings, siblings: Siblings) -> list[Route]:
    """The routes of what this process shares with the others; none if it is the only one."""
    if settings.processes == 1:
        return []
    secret = _secret(settings)
    return [
        _shared_route(f"{_SHARED}/{name}", share, secret) for name, share in siblings.shares.items()
    ]


def _shared_route(path: str, share: Share, secret: str) -> Route:
    async def shared(request: Request) -> Response:
        if not hmac.compare_digest(request.headers.get(PROOF, ""), secret):
            return PlainTextResponse("not found\n", 404)
        first = request.query_params.get("first", "")
        if not first.isdecimal():
            return PlainTextResponse("expected ?first=NUMBER\n", 400)
        return Response(share(int(first)), media_type="application/json")

    return Route(path, shared)


def _sockets(folder: Path, processes: int) -> list[Path]:
    return [folder / f"process-{number + 1}" for number in range(processes)]


def _own_socket(settings: Settings) -> Path:
    return Path((settings.admin_listen or "").removeprefix("unix:"))


def _secret(settings: Settings) -> str:
    return (_own_socket(settings).parent / _PROOF_FILE).read_text()
