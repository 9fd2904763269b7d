"""What a gateway counts, on the instruments of `forebay_backends/metrics/instruments.py`.

- `gateway_metrics.py`: the instruments of one gateway process, and what is read at a scrape
- `call_meter.py`: one call, from its arrival to its end
- `rpc_meter.py`: the duration and status of every RPC
- `event_loop_lag.py`: how late the event loop is
"""
