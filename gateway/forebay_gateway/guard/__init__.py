"""The guard in front of all handlers: refuses RPCs that their callers may not make."""
