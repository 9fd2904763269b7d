"""Where a message came from, whatever it says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from forebay_workers.celery_hooks.message_queue import queue_of
from forebay_workers.celery_hooks.redis_transport import CAME_FROM

CONSUMER = SimpleNamespace(task_consumer=SimpleNamespace(_active_tags={"add": "t1", "mul": "t2"}))


@pytest.mark.parametrize(
    ("delivery", "queue"),
    [
        ({CAME_FROM: "add", "routing_key": "mul", "consumer_tag": "t2"}, "add"),
        ({"routing_key": "mul", "consumer_tag": "t1"}, "add"),
        ({"routing_key": "mul"}, ""),
    ],
)
def test_a_message_does_not_say_which_queue_it_came_from(
    delivery: dict[str, Any], queue: str
) -> None:
    assert queue_of(CONSUMER, SimpleNamespace(delivery_info=delivery)) == queue
