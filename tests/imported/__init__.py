"""A Celery application that knows nothing of Forebay, for `forebay import`."""
