"""What Forebay costs and gains against what people do without it: `python -m bench`.

Everything runs on this machine, in one run, on one embedded server: the product
as it ships, the tutorial's Celery tasks with their Redis results (on another
database of that server), a bare gRPC server. Contenders take turns, round by
round, so that what disturbs the machine disturbs each of them; a ratio is made
within a round, and its spread over the rounds says how far to trust it.
"""
