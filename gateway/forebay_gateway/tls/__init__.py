"""TLS of the gateway's port: its certificate and the callers' CAs, reloaded when files change."""
