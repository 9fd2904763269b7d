"""The nemesis: makes calls of all kinds while it kills, stops and disconnects their processes.

`plans` and `schedule` generate calls and faults from a seed. `client` makes the calls and
records the results (`history`). `harm` injects the faults into a `cluster` of real
processes. `checker` and `remains` compare the results, the records and the times at which
handlers worked with the promises. `battle` runs all of this.
"""
