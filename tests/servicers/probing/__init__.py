"""A servicer that looks at its context and requests; it knows of gRPC alone."""
