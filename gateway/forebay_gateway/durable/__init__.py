"""Durable calls: a record in the ledger, items that survive, attachment by id."""
