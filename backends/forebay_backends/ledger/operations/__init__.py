"""The ledger's operations as values, a file for each subject; `lua/` has their scripts."""
