"""Small tools for asyncio: periodic work, cancellation, background tasks, an auto-reset event."""
