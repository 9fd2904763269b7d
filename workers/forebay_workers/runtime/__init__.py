"""What a worker process holds, and when it claims a call."""
