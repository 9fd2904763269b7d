"""Compiled from `protos/forebay/v1`: options, error reasons, CallService, internal messages."""
