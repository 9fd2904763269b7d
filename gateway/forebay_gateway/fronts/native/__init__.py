"""The front on nghttp2, by ngh2: HTTP/2 and gRPC in one asyncio protocol for each connection.

- `http2.py`: the only module that imports ngh2
- `head.py`, `refused.py`, `messages.py`: pure: headers, answers to invalid ones, message framing
- `floods.py`, `lifetime.py`: pure: limits on frames, the clocks of a connection
- `rpc.py`, `requests.py`: one RPC, a `Context`, and its requests; `link.py`: its connection
- `streams.py`, `session.py`: the RPCs of one connection, and its HTTP/2; `peers.py`: its caller
- `connection.py`: its asyncio protocol, which takes turns with the other connections
- `listeners.py`, `front.py`: sockets, and all connections

gRPC over HTTP/2: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""
