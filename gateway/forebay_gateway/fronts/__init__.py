"""Fronts: the servers that callers reach, one folder each.

A front finds the handler of an RPC and gives it a `Context` (`rpc/context.py`). `Front` is the
interface of fronts.

- `native/`: the default, on nghttp2.
- `grpc/`: on `grpc.aio`.
"""
