"""The admin services: operations, methods, queues, items. Open on loopback addresses only."""
