"""Identities of callers, and their permissions.

- `authentication.py`: identifies callers by certificate or token.
- `jwt/`: tokens of identity providers.
- `keys/`: API keys.
- `permissions.py`, `tenant_access.py`: what a caller may do.
"""
