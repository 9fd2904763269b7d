"""One gateway: its gRPC servers, its processes, and the handler of every routed RPC."""
