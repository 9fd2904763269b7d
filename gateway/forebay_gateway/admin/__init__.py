"""The admin services: operations, methods, queues, items. Open to known callers, or on loopback."""
