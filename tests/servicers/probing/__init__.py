"""A servicer that inspects its context and requests, and uses nothing of Forebay."""
