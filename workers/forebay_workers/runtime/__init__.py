"""A worker process: its resources, Celery's signals, and claiming calls on arrival."""
