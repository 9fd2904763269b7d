"""The code that gateway and workers share: settings, and access to the backends.

- `settings`, `urls`: the operator's settings, validated; the parsing of backend URLs.
- `ledger/`: the records of calls in Redis or Valkey: life cycle, operations, scripts, presence.
- `broker/`: Celery messages onto Redis or RabbitMQ.
- `embedded/`: the Valkey server that Forebay starts when no ledger is configured.
- `reaper`: the periodic repair of the ledger: what is due ends, lost messages are sent again.
- `metrics/`: the table of all metrics, and the text that Prometheus reads.
- `telemetry/`: which call a line of the log belongs to, the format of lines, and spans.
- `aio/`, `process/`: small tools for event loops and for processes.
"""
