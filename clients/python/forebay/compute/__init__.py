"""ComputeService: its requests and their checks, and its results as integers and NumPy arrays.

`v1/` has its stub, generated from `protos/forebay/compute/v1/`.
"""
