"""Runs a Celery task: durable calls, or a batch of ephemeral calls with its time limit."""
