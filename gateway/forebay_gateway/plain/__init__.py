"""Calls of plain Celery tasks: those of applications that know nothing of Forebay.

What decides is pure: `arguments`, `results`, `outcomes`, `messages`, `waiting`. The edges are
the brokers (`redis_broker`, `amqp_broker`) and, where results are kept in a Redis,
`redis_results`. `calls` puts them together.
"""
