"""The operators' port, `admin_listen`: HTTP/1.1 and gRPC on one address.

- `first_bytes.py`: reads the start of a connection, to find out which server it is for
- `relay.py`: passes a connection on to a Unix socket
- `listener.py`: the sockets, and uvicorn for HTTP
- `app.py`: the HTTP routes; `server/admin_port.py` adds to them, and has the gRPC services
- `gather.py`: the metrics of several gateway processes

HTTP/2 connections are gRPC's. The port relays them to a front on a Unix socket, so any kind
of front works.
"""
