"""Celery messages and how they get onto Redis or RabbitMQ."""
