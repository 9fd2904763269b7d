"""What a gateway counts, on the instruments of `forebay_backends/metrics/instruments.py`.

- `gateway_metrics.py`: the instruments of one gateway process, and what is read at a scrape
- `method_meter.py`: the instruments of one method
- `call_meter.py`: one RPC on one call, from its arrival to its end
- `event_loop_lag.py`: how late the event loop is
"""
