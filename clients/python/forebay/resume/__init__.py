"""Channels of `grpc` and `grpc.aio` whose calls are retried on other targets, and resumed.

`policy` decides; `attempts` and `target_set` are shared by both kinds of channel.
"""
