"""The backends that gateway and workers both stand on, and how they are reached.

- `settings`, `urls`: what the operator configures, checked; what backend URLs mean.
- `ledger/`: the records of calls in Redis or Valkey: life cycle, operations, scripts, presence.
- `broker/`: Celery messages onto Redis or RabbitMQ.
- `embedded/`: the Valkey server that Forebay starts when no ledger is configured.
- `reaper`: the periodic repair of the ledger: what is due ends, lost messages are sent again.
- `aio/`, `process/`: small tools for event loops and for processes.
"""
