"""The check whether an embedded server runs."""

from __future__ import annotations

import socket
import threading

from forebay_backends.embedded.server import is_running
from tests.harness import short_folder


def test_a_server_that_closes_the_connection_is_asked_once() -> None:
    asked: list[str] = []

    def refuse() -> None:
        while True:
            caller, _ = mute.accept()
            with caller:
                if caller.recv(1) == b"!":
                    return
                asked.append("once")

    with short_folder() as folder, socket.socket(socket.AF_UNIX) as mute:
        address = str(folder / "ledger.sock")
        mute.bind(address)
        mute.listen()
        thread = threading.Thread(target=refuse)
        thread.start()
        assert not is_running(folder)
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(address)
            last.send(b"!")
        thread.join()
    assert asked == ["once"]


def test_a_folder_without_a_server_has_none_running() -> None:
    with short_folder() as folder:
        assert not is_running(folder)
