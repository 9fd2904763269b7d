"""The ledger's operations as values, a file for each subject; `ledger/lua/` has their scripts."""
