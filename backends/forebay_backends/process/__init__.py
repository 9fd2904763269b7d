"""Setup of Forebay's own processes: memory, and ending with the parent process."""
