"""The front on `grpc.aio`."""
