"""Runs a worker inside a test's process."""
