"""The web front: the gateway's handlers for browsers and other clients of HTTP/1.1.

It is one ASGI application over the same handlers as gRPC's fronts (`rpc/context.py`), so that
guard, admission, deadlines, metrics, spans and audit are the same.

- `application.py`: `application(...)`, the ASGI application: it checks each request
  (`security.py`), finds the method of its path, and the `Protocol` (`protocol.py`) that takes it
- `methods.py`: `WebMethod`, a method with its handler and its messages' JSON, from descriptors
- `exchange.py`: `Exchange`, one request and response of HTTP: its head, body, peer, and the end of
  its connection
- `context.py`: `WebContext`, the handlers' `Context` over an exchange, and `serve_rpc`, which runs
  a handler to its end: deadline, callers that leave, status
- `metadata.py`: headers to metadata and back
- `codecs.py`, `compression.py`, `envelopes.py`: messages as callers send and get them: JSON or
  binary, gzip, with flags and length; `large_work.py` does this in a thread where they are large
- `connect/`: Connect: unary calls by POST and GET, streams of responses
- `grpc_web/`: gRPC-Web, binary and text
- `rest/`: paths of `google.api.http`, JSON, streams as lines; `openapi/`: `/openapi.json`
- `sse/`: server-sent events, which a browser resumes
- `listener.py`, `connection.py`: listen on `web_listen`, by uvicorn, with limits for heads, slow
  callers and their number; `server/web.py` puts all of it together for a gateway

To add a protocol, write a `Protocol`: `takes` looks at the head of a
request for a method, and `serve` builds two small objects, `Requests` and `Responses`
(`context.py`), and gives them to `serve_rpc`; `connect/unary.py` is an example. `application(...)`
gets the protocols, and the first that takes a request serves it. Errors of requests are raised as
`ForebayError` when they are read, so that the guard comes first. Routes of other paths
(`/openapi.json`, paths of `google.api.http`) are Starlette's, passed as `routes`; one that leads to
a method makes an `Exchange` of the ASGI scope, and calls `serve_rpc` as well.

Another ASGI application, such as that of the operators' port, mounts `application(...)` with the
handlers and the policy of its own.
"""
