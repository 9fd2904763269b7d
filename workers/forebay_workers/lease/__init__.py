"""Leases on calls: renewing and releasing them, heartbeats, and ending stopped calls."""
