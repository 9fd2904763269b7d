"""The ledger: the life cycle of calls, and their records in Redis or Valkey."""
