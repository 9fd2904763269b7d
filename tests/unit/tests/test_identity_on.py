"""The variable that turns identity on for the tests."""

from __future__ import annotations

import pytest

from tests import identity_on


def test_an_unknown_kind_of_identity_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_IDENTITY", "on")
    with pytest.raises(pytest.UsageError, match="TEST_IDENTITY=on: expected keys or tokens"):
        identity_on.enable()
