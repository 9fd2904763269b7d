"""What a worker counts: its main process has the instruments, and a pool's children report to it.

- `worker_metrics.py`: counts in either kind of process
- `http_server.py`: serves it
- `reports.py`: from child to main process
- `option.py`: the worker's option `--metrics HOST:PORT`
"""
