"""How many connections a gateway process takes."""

from __future__ import annotations

import pytest

from forebay_backends.process import descriptors
from forebay_gateway.server.connection_limit import max_connections


@pytest.mark.parametrize(
    ("limit", "of_one", "of_each_of_two"), [(1160, 1000, 500), (200, 40, 20), (64, 16, 16)]
)
def test_the_ports_of_a_process_share_its_file_descriptors(
    monkeypatch: pytest.MonkeyPatch, limit: int, of_one: int, of_each_of_two: int
) -> None:
    monkeypatch.setattr(descriptors, "limit", lambda: limit)
    assert max_connections() == of_one
    assert max_connections(ports=2) == of_each_of_two
