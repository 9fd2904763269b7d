"""Where Celery and kombu are extended: the request class, the Redis transport, forks."""
