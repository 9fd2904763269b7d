"""Workers: a Celery application whose tasks run gRPC handlers.

`celery -A forebay_workers worker` runs ComputeService's handlers. For a service of your
own, make an application with `application` and start `celery -A` with it.
"""

from forebay.extras import explained

try:
    from forebay_workers import native  # noqa: F401  # before anything that imports NumPy
    from forebay_workers.application import application
except ImportError as error:
    raise explained(error, "the module forebay_workers", "workers") from None

__all__ = ["application"]
