"""`forebay top`: queues, workers, methods and calls of a gateway, live in a terminal.

- `command.py`: the command; one table and the end, or the live view
- `snapshot.py`: reads everything from a gateway once
- `poller.py`: reads again and again in a thread, and finds the gateway again after an outage
- `tables.py`: a snapshot as tables, and as JSON
- `view.py`: what the person has chosen: table, order, filter; keys change it
- `screen.py`: draws tables on a screen of any size
- `terminal.py`: keys, signals and the state of the real terminal
"""
