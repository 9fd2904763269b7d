"""Signatures of the messages between gateways and workers."""
