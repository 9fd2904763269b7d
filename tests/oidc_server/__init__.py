"""A real OpenID Connect server for tests: npm's `oidc-provider`."""
