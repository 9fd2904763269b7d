"""What a handler has: its context, its requests, flow control, and the channel that stops it."""
