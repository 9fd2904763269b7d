"""Channels that retry, resume streams and move to another gateway."""
