"""The ledger: records of calls in Redis or Valkey.

`lifecycle` is the table of a call's states. `operations/` are values that name a script of `lua/`
and its arguments; `client` (asyncio) and `blocking_client` (threads) run them. `frames` has the
messages on pub/sub channels, `keys` the names of keys and channels, `presence` the live workers.
"""
