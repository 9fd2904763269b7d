"""Installs and runs the server of this folder, and gets tokens from it."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests import npm
from tests.harness import environment, process

SOURCE = Path(__file__).parent
RESOURCE = "urn:forebay"


@dataclass(frozen=True)
class Client:
    """A client of the server; `scope` is what its tokens may say."""

    id: str
    secret: str
    scope: str = "caller"
    tenant: str = "acme"
    algorithm: str = "RS256"


@dataclass(frozen=True)
class OidcServer:
    """A running server."""

    issuer: str

    def discovered(self) -> dict[str, Any]:
        """What the server says of itself."""
        return _json(f"{self.issuer}/.well-known/openid-configuration")

    def token(self, client: Client, resource: str = RESOURCE, secret: str = "") -> str:
        """A token for the client's own credentials; raises HTTPError if there is none."""
        asked = {
            "grant_type": "client_credentials",
            "client_id": client.id,
            "client_secret": secret or client.secret,
            "scope": client.scope,
            "resource": resource,
        }
        data = urllib.parse.urlencode(asked).encode()
        endpoint = self.discovered()["token_endpoint"]
        token: str = _json(endpoint, data)["access_token"]
        return token


def _json(url: str, data: bytes | None = None) -> dict[str, Any]:
    with urllib.request.urlopen(url, data) as answer:  # noqa: S310 - of the server above
        found: dict[str, Any] = json.load(answer)
    return found


def installed(folder: Path) -> Path:
    """A copy of this folder with its packages, below the folder."""
    return npm.installed(SOURCE, folder / "oidc_server")


@contextlib.contextmanager
def oidc_server(folder: Path, *clients: Client, port: int = 0) -> Iterator[OidcServer]:
    """Runs what is `installed` in the folder, with new keys, until the block is left."""
    known = json.dumps([asdict(client) for client in clients])
    env = environment(OIDC_CLIENTS=known, OIDC_PORT=str(port))
    with process("node", "server.mjs", env=env, cwd=folder) as server:
        yield OidcServer(server.wait_for(r"serving as (\S+)")[1])
