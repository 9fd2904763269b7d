"""The front on nghttp2, by ngh2: HTTP/2 and gRPC's protocol on one asyncio protocol a connection.

- `http2.py`: the only module that imports ngh2
- `head.py`, `messages.py`, `floods.py`: pure: request headers, message framing, limits on frames
- `rpc.py`: one RPC, a `Context`; `connection.py`: one connection
- `listeners.py`, `front.py`: sockets, and all connections

gRPC over HTTP/2: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""
