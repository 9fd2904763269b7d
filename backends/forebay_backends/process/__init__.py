"""What Forebay sets up in its own processes: memory, and ending with the parent process."""
