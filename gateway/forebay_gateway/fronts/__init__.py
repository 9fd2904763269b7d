"""Fronts: the servers that callers reach, one folder each.

A front finds the handler of an RPC and gives it a `Context` (`rpc/context.py`). `Front` is what the
gateway knows of one.

- `native/`: the default, on nghttp2.
- `grpc/`: on `grpc.aio`.
"""
