"""JWTs of identity providers.

- `verifier.py`: verifies a token: picks the issuer by `iss`, and remembers the verdict.
- `token.py`: what a token says before its signature is verified.
- `issuer.py`: one issuer: which tokens it accepts, by which keys.
- `claims.py`: the principal that the claims describe.
- `jwks.py`: a JWKS document and its keys.
- `key_stores.py`: what a store of an issuer's keys does; that of a file.
- `fetched_keys.py`: the store of a URL's keys, which it fetches in the background.
- `jwks_client.py`: the HTTP request.
"""
