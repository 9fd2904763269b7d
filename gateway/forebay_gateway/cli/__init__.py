"""The commands that run or inspect a gateway.

- `commands.py`: `forebay gateway`, `up`, `routes` and `doctor`, whose work other modules do.
- `keys.py`: `forebay keys`.
- `new/`: `forebay new`, which writes a new project.
- `import_app/`: `forebay import`, which writes a `.proto` for an existing Celery application.
- `acl/`: `forebay acl`, which prints the least rights at Redis and RabbitMQ.
"""
