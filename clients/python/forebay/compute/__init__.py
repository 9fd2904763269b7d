"""ComputeService: its stub, the checks of its requests, and its matrices as arrays."""
