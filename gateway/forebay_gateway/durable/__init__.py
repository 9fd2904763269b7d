"""Durable calls: a record in the ledger, stored items, attachment by call id."""
