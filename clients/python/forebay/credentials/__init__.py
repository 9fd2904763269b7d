"""What a client shows of itself: tokens of its calls, and where they may be sent."""
