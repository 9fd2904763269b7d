"""A servicer for `grpc.aio.server` that inspects its context, and uses nothing of Forebay."""
