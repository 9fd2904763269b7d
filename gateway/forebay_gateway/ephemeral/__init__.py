"""Ephemeral calls: no record; they live in the gateway's memory and are sent in batches."""
