"""The audit log: refused RPCs, cancelled or deleted calls, reads by other tenants, changed keys."""
