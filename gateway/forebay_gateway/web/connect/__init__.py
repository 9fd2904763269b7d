"""Connect, https://connectrpc.com/docs/protocol/: calls by plain HTTP, with JSON or protobuf."""
