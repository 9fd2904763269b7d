"""Compiled from `protos/forebay/v1`: the method option, the error reasons, the messages inside."""
