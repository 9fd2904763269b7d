"""Calls of plain Celery tasks, in applications that do not use Forebay.

`calls` serves them, with `turns` (the order of tenants' tasks), `responses` and `queue_slots`.
Pure: `task_request` and `task_outcome` (from a request to a task, from a task's state to a result
or an error), `raised` (a task's exception), `in_flight` (which calls wait, and which have been
silent for too long) and `mapping/` (protobuf to and from Celery's JSON). I/O: `watchdog`,
`brokers/`.
"""
