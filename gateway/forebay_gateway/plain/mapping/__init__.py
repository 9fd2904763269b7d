"""Maps protobuf requests to task arguments, and task results to protobuf responses. Pure."""
