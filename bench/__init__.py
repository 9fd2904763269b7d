"""Compares Forebay with its alternatives: `python -m bench`.

Everything runs on this machine, in one run, with one embedded server: the product
as it ships, the tutorial's Celery tasks with Redis results (in another database of
that server), a bare gRPC server. Contenders take turns, round by round, so that a
disturbance of the machine affects all of them. A ratio is computed within a round,
and its spread over the rounds shows how reliable it is.
"""
