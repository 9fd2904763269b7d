"""Running a handler: its context, requests, flow control, and the channel that stops it."""
