"""The syntax of targets."""

from __future__ import annotations

import pytest

from forebay.resume.targets import read_targets


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("host:1", ("host:1",)),
        ("one:1, two:2", ("one:1", "two:2")),
        (["one:1", "two:2"], ("one:1", "two:2")),
        ("ipv4:10.0.0.1:1,10.0.0.2:2", ("ipv4:10.0.0.1:1,10.0.0.2:2",)),
        ("unix:/run/a,dns:///two:2", ("unix:/run/a", "dns:///two:2")),
    ],
)
def test_one_or_several_targets_are_read(written: str | list[str], read: tuple[str, ...]) -> None:
    assert read_targets(written) == read


@pytest.mark.parametrize("written", ["", "one:1,", [], ["one:1", ""]])
def test_an_empty_target_is_an_error(written: str | list[str]) -> None:
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        read_targets(written)
