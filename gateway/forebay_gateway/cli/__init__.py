"""The commands that run or inspect a gateway."""
