"""Compares Forebay with its alternatives: `python -m bench`.

Everything runs on this machine, in one run: Forebay as it ships, the Celery tutorial's
tasks with Redis results (in another database of the same embedded server), a bare gRPC
server, and others. A measurement that needs a different setup starts its own processes.
Contenders take turns, round by round, so that a disturbance of the machine affects all
of them. A ratio is computed within a round, and its spread over the rounds shows how
reliable it is.
"""
