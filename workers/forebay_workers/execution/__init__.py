"""Running a Celery task: durable calls, batches of ephemeral calls, and their time limit."""
