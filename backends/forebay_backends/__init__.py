"""The code that gateway and workers share: settings, and access to the backends.

- `settings/`: the operator's settings, validated.
- `urls/`: parses the URLs of broker and ledger.
- `ledger/`: the records of calls in Redis or Valkey: life cycle, operations, scripts, presence.
- `broker/`: sends Celery messages through Redis or RabbitMQ.
- `embedded/`: the Valkey server that Forebay starts when no ledger is configured.
- `reaper.py`: repairs the ledger once a second: ends overdue calls, sends lost messages again.
- `end_notices.py`: sends the tasks that a method names with `on_end`.
- `signing/`: signatures of the messages between gateways and workers.
- `metrics/`: the table of all metrics, and the text that Prometheus reads.
- `telemetry/`: the format of log lines, with the call that a line is about, and spans.
- `aio/`, `process/`: small tools for event loops and for processes.
"""
