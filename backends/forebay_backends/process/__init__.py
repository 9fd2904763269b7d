"""What a process of ours sets up for itself: memory, and ending with its parent."""
