"""`forebay top`: queues, workers, methods and calls of a gateway, live in a terminal.

- `command.py`: the command, which prints one table and exits, or shows the live view
- `snapshot.py`: reads everything from a gateway once
- `poller.py`: reads periodically in a thread, and reconnects to a gateway after an outage
- `tables.py`: a snapshot as tables, and as JSON
- `view.py`: the table, order and filter that the user has chosen by keys
- `screen.py`: draws tables on a screen of any size
- `terminal.py`: keys, signals and the state of the real terminal
"""
