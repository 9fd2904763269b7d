"""The embedded Valkey server: how it is started, and the guard that stops it."""
