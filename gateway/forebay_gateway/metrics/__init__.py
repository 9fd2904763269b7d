"""What a gateway counts, on the instruments of `forebay_backends/metrics/instruments.py`.

- `gateway_metrics.py`: the instruments of one gateway process, and what a scrape reads
- `method_meter.py`: the instruments of one method
- `call_meter.py`: one RPC on one call, from its arrival to its end
- `tenant_meters.py`: the ended calls of tenants
- `cancelled_rpcs.py`: whether an RPC was cancelled by its deadline or by its caller
- `event_loop_lag.py`: how late the event loop is
"""
