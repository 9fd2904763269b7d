"""Extensions of Celery and kombu: the request class, the Redis transport, pauses for forks."""
