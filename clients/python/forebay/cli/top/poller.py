"""Reads snapshots in a thread, and finds a gateway again after an outage."""

from __future__ import annotations

import threading
from collections.abc import Callable

import grpc

from forebay.cli.call_names import Tenants
from forebay.cli.connection import NoServer, server_at
from forebay.cli.ctrl_c import CancelOnCtrlC
from forebay.cli.gateway import Gateway
from forebay.cli.target import Target
from forebay.cli.top.snapshot import Snapshot, SnapshotReader
from forebay.rpc_errors import of_rpc_error

_RETRY_INTERVAL_S = 1.0
_END_S = 2.0


class Poller:
    """Calls `on_news` from a thread with each snapshot, or with the reason why there is none."""

    def __init__(
        self,
        target: Target,
        tenants: Tenants,
        interval_s: float,
        limit: int,
        on_news: Callable[[Snapshot | str], None],
    ) -> None:
        self._target = target
        self._tenants = tenants
        self._interval_s = interval_s
        self._limit = limit
        self._on_news = on_news
        self._rpcs = CancelOnCtrlC()  # without `with`: the view has its own handler of SIGINT
        self._thread = threading.Thread(target=self._run, name="forebay-top", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Cancels the RPC in flight, and waits for the thread to end, for at most 2 s."""
        self._rpcs.interrupt()
        self._thread.join(_END_S)

    def _run(self) -> None:
        """Ends after `stop`: by FutureCancelledError, or by SystemExit from `_rpcs`."""
        while True:
            try:
                with server_at(self._target, self._rpcs, self._on_news) as server:
                    gateway = Gateway(server, self._rpcs, self._tenants)
                    reader = SnapshotReader(gateway, self._limit)
                    while True:
                        self._on_news(reader.read())
                        self._rpcs.sleep(self._interval_s)
            except NoServer as error:
                self._on_news(error.problem)
            except grpc.RpcError as error:
                self._on_news(f"{self._target}: {of_rpc_error(error)}")
            except grpc.FutureCancelledError:  # `stop` has cancelled the RPC
                return
            self._rpcs.sleep(_RETRY_INTERVAL_S)
