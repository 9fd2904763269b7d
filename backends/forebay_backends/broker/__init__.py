"""Celery messages and the brokers that carry them: Redis, Valkey and RabbitMQ."""
