"""Workers: a Celery application whose tasks run gRPC handlers.

`celery -A forebay_workers worker` runs ComputeService's. For a service of your
own, make an application (`application`) and point Celery at it.
"""

from forebay_workers import native  # noqa: F401  # before what loads NumPy
from forebay_workers.application import application

__all__ = ["application"]
