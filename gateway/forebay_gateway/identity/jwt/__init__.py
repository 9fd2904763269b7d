"""JWTs of identity providers.

- `verifier.py`: verifies a token: picks the issuer by `iss`, and remembers the verdict.
- `token.py`: reads a token whose signature is not verified yet.
- `issuer.py`: one issuer: which tokens it accepts, by which keys.
- `claims.py`: the principal that the claims describe.
- `jwks.py`: a JWKS document and its keys.
- `key_stores.py`: the interface of a store of an issuer's keys, and the store of a file.
- `fetched_keys.py`: the store of a URL, whose keys it fetches in the background.
- `jwks_client.py`: the HTTP request.
"""
