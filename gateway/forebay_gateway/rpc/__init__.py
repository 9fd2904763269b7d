"""What durable, ephemeral and plain RPCs share. Imports no ledger client and no broker."""
