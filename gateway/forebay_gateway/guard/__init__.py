"""The guard in front of all handlers: lets an RPC pass if its caller may make it."""
