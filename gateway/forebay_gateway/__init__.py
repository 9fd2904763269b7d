"""The gateway: gRPC in, Celery tasks out, items back."""
