"""What every routed RPC has, whichever way it is served. Imports no ledger client and no broker."""
