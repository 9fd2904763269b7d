"""The handlers of ComputeService."""
