"""Keeps what waits by tenant, and lets it into the broker by weighted deficit round robin."""
