"""Ephemeral calls: kept in the gateway's memory and sent in batches."""
