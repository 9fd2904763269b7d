"""Tools for processes: memory, file descriptors, threads' stacks, and the end of the parent."""
