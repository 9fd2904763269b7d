"""Compiled from `protos/forebay/compute/v1`: ComputeService, its messages and its stub."""
