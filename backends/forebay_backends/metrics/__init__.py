"""The metrics of gateways and workers: one table of instruments, on prometheus-client.

- `instruments.py`: every metric, as data; documentation and tests are made from it
- `registry.py`: makes the instruments of a process, in a registry of its own
- `exposition.py`: the text that Prometheus reads
"""
