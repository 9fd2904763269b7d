"""Workers: a Celery application whose tasks run gRPC handlers.

`celery -A forebay_workers worker` runs ComputeService's handlers. For a service of your
own, make an application with `application` and start `celery -A` with it.

Its folders, from the outside in:

- `testing/`: runs a worker inside a test's process.
- `compute/`: the handlers of ComputeService.
- `execution/`: runs a Celery task: durable calls, or a batch of ephemeral calls.
- `runtime/`: a worker process: its resources, Celery's signals, claiming calls on arrival.
- `lease/`: renews and releases leases on calls, and ends stopped calls.
- `metrics/`: a worker's Prometheus metrics.
- `coroutines/`: coroutine handlers: their event loop, context and requests.
- `handler/`: runs a handler: its context, requests, flow control, and what stops it.
- `celery_hooks/`: extensions of Celery and kombu: the request class, the Redis transport.

Its modules:

- `application.py`: public; `application` makes a Celery application of services' handlers.
- `celery.py`: the application that `celery -A forebay_workers` starts.
- `asyncio_pool.py`: public; a Celery pool that runs coroutine handlers on one event loop.
- `servicers.py`: finds the services of a servicer.
- `native.py`: a setting of NumPy's threads; must be imported before NumPy.
- `supervised.py`: a worker that `forebay up` starts, and that ends with it.
"""

from forebay.extras import explained

try:
    from forebay_workers import native  # noqa: F401  # before anything that imports NumPy
    from forebay_workers.application import application
except ImportError as error:
    raise explained(error, "the module forebay_workers", "workers") from None

__all__ = ["application"]
