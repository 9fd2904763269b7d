"""A worker's metrics: the main process has the instruments, and a pool's children report to it.

- `worker_metrics.py`: counts, in the main process and in a pool's children
- `http_server.py`: serves the metrics
- `reports.py`: sends a child's counts to the main process
- `option.py`: the worker's option `--metrics HOST:PORT`
"""
