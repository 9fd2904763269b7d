"""A worker inside a test's process."""
