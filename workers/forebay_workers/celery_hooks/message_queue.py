"""The queue that a message was taken from."""

from __future__ import annotations

from typing import Any

from forebay_workers.celery_hooks.redis_transport import CAME_FROM


def queue_of(consumer: Any, message: Any) -> str:
    """The queue's name, whatever the message says itself: anyone may write that.

    `consumer` is Celery's. Empty if the broker does not tell.
    """
    delivery = message.delivery_info
    if CAME_FROM in delivery:
        return str(delivery[CAME_FROM])
    tags = consumer.task_consumer._active_tags
    by_tag = {tag: queue for queue, tag in tags.items()}
    return str(by_tag.get(delivery.get("consumer_tag"), ""))
