"""Which front serves, with ngh2 and without."""

from __future__ import annotations

from typing import Any

import pytest

from forebay_gateway.fronts import choice
from forebay_gateway.fronts.choice import FrontMissing, Kind, make_front
from tests.contract.fronts.site import LIMITS


@pytest.mark.parametrize(
    ("kind", "installed", "made"),
    [
        ("auto", True, "NativeFront"),
        ("auto", False, "ServerPool"),
        ("native", True, "NativeFront"),
        ("grpc", True, "ServerPool"),
        ("grpc", False, "ServerPool"),
    ],
)
async def test_auto_is_native_where_its_package_is(
    monkeypatch: pytest.MonkeyPatch, kind: Kind, installed: bool, made: str
) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: object() if installed else None)
    find: Any = None
    front = make_front(kind, find, "127.0.0.1:0", LIMITS, reuse_port=False)
    assert type(front).__name__ == made
    await front.start()
    await front.stop(0)


def test_a_front_that_is_asked_for_and_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    find: Any = None
    with pytest.raises(FrontMissing, match="ngh2"):
        make_front("native", find, "127.0.0.1:0", LIMITS, reuse_port=False)
