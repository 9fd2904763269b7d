"""The operators' port, `admin_listen`: HTTP/1.1 and gRPC on one address.

- `first_bytes.py`: reads the start of a connection, until it is known who serves it
- `relay.py`: passes a connection on to a Unix socket
- `listener.py`: the sockets, and uvicorn for HTTP
- `app.py`: the HTTP routes; `server/admin_port.py` adds to them, and has the gRPC services
- `gather.py`: the metrics of several gateway processes

HTTP/2 means gRPC. It goes to a front of its own on a Unix socket, so that any front will do.
"""
