"""Channels of `grpc` and `grpc.aio` whose calls are retried on other targets, and resumed.

`policy` decides when and where to retry. Both kinds of channel use `attempts` and `target_set`.
"""
