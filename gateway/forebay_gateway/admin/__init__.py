"""The admin services: operations, methods, queues, items. Open with auth or on loopback."""
