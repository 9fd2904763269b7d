"""Attacks on an HTTP/2 server that need one connection and no secrets.

- `attack.py`: runs an attack, and says how it ended
- `floods.py`, `headers.py`, `resets.py`: the server ends the connection
- `holding.py`: the server may keep the connection, with bounded memory
- `lists.py`: all of them
"""
