"""The nemesis: calls of all kinds while everything they need is killed, stopped and cut off.

`plans` and `schedule` make calls and faults out of a seed; `client` makes the calls and
writes down what it saw (`history`); `harm` does the faults to a `cluster` of real
processes; `checker` and `remains` hold what was seen, what is on record and when
handlers worked against the promises. `battle` puts them together.
"""
