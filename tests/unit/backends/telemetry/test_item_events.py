"""Which items of a stream become events."""

from __future__ import annotations

import pytest

from forebay_backends.telemetry.item_events import ItemEvents


@pytest.mark.parametrize(
    ("count", "ordinals"),
    [
        (0, []),
        (1, [0]),
        (2, [0, 1]),
        (100, [0, 99]),
        (101, [0, 100]),
        (102, [0, 100, 101]),
        (1000, [0, *range(100, 1000, 100), 999]),
    ],
)
def test_the_first_the_last_and_every_100th_item_is_an_event(
    count: int, ordinals: list[int]
) -> None:
    items = ItemEvents()
    found = [ordinal for now in range(count) if (ordinal := items.on_item(now)) is not None]
    last = items.last()
    if last is not None:
        found.append(last[0])
        assert last == (count - 1, count - 1), "the last one has the time at which it came"
    assert found == ordinals
