"""Gateways of EchoService whose callers are tenants with API keys."""
