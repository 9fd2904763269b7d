"""Brokers and result backends of plain Celery applications."""
