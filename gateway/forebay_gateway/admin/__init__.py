"""The services for operators: operations, queues, items; open on loopback addresses only."""
