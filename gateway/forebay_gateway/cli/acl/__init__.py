"""`forebay acl`: the least rights of gateways and workers at Redis and RabbitMQ."""
