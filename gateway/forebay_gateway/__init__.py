"""The gateway: gRPC calls in, Celery tasks out, items back.

From the outside in; each folder imports only from folders below it:

- `cli/`: the commands that run or inspect a gateway, and `forebay new`, `import`, `keys` and `acl`.
- `asgi.py`: public; a gateway inside of another ASGI application.
- `testing/`: public; a whole service inside a test.
- `server/`: one gateway: its front, health, reflection, and every routed RPC's handler.
- `operators_page/`: the page at `/` of the operators' port, for browsers.
- `admin/`: google.longrunning.Operations and forebay.v1.CallService over the ledger's records.
- `admin_server/`: the operators' port: HTTP and gRPC on one address, metrics and probes.
- `guard/`: lets an RPC pass if its caller is known and may make it.
- `scaling/`: KEDA's external scaler: how many workers a queue needs.
- `load_reports/`: ORCA: how busy this gateway is, in the trailers of calls.
- `web/`: the handlers for browsers, by ASGI: Connect, gRPC-Web, REST and server-sent events.
- `fronts/`: the servers that callers reach: on nghttp2, and on `grpc.aio`.
- `audit/`: the audit log: who was refused, who ended or read which call.
- `durable/`, `ephemeral/`, `plain/`: the three ways to serve a call: by a record in the ledger, in
  the gateway's memory, or by a Celery task that knows nothing of Forebay.
- `rpc/`: what these three share: an RPC's options, requests, policy, status and batching.
- `fair_queues/`: calls that wait, by tenant, until they are sent to the broker.
- `quotas/`: the limits of each tenant, counted over all gateways.
- `admission/`: which calls get in: limits, fair shares, full queues.
- `fleet/`: what the gateway knows of the live workers.
- `identity/`: who calls, and what they may do.
- `tls/`: the certificate of the gateway's port, and the callers' CAs.
- `metrics/`: what the gateway counts.
- `profiling/`: where a gateway process spends its time.
"""
