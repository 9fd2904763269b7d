"""ComputeService: the checks of its requests, and its matrices as arrays.

`v1/` has its stub, generated from `protos/forebay/compute/v1/`.
"""
