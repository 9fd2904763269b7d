"""A client's credentials: the tokens of its calls, and the targets they may be sent to."""
