"""The port of the web front, reserved before anything is started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext

from forebay_backends.settings import Settings
from forebay_gateway.server.errors import GatewayError
from forebay_gateway.server.port import can_share_port, reserved_port

DEFAULT = "127.0.0.1:8080"
"""The address under `forebay up`."""
_ANY_FREE = "127.0.0.1:0"
_OPTION = "--web-listen"


@contextmanager
def reserved_web_port(settings: Settings, *, by_default: bool = False) -> Iterator[Settings]:
    """Reserves `web_listen` for the gateway's processes; yields the settings with its port.

    `by_default`: where nothing is set, port 8080 of loopback is taken, or any that is free. Raises
    GatewayError if the port that is set is in use.
    """
    listen = settings.web_listen
    if listen is None and by_default and serves_http_by_default(settings):
        with _default_port() if can_share_port(DEFAULT) else nullcontext(_ANY_FREE) as address:
            yield _with(settings, address)
        return
    if listen is None or (settings.processes == 1 and not can_share_port(listen)):
        yield settings
        return
    with reserved_port(listen, _OPTION) as address:
        yield _with(settings, address)


def serves_http_by_default(settings: Settings) -> bool:
    """Whether `forebay up` serves HTTP: unless that is turned off."""
    return settings.web_listen is not None or "web_listen" not in settings.model_fields_set


def web_url(settings: Settings) -> str:
    """Where the web front is; empty if it is off."""
    address = settings.web_listen
    if address is None or address.startswith("unix:"):
        return address or ""
    return f"{'http' if settings.tls is None else 'https'}://{address}"


@contextmanager
def _default_port() -> Iterator[str]:
    with ExitStack() as stack:
        try:
            address = stack.enter_context(reserved_port(DEFAULT))
        except GatewayError:
            address = stack.enter_context(reserved_port(_ANY_FREE))
        yield address


def _with(settings: Settings, address: str) -> Settings:
    return settings.model_copy(update={"web_listen": address})
