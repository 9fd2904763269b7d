"""TLS of the gateway's port: its certificate and the callers' CAs, checked and read again."""
