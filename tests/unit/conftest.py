"""How Hypothesis runs here: machines differ in speed, so no example is held to a time."""

from hypothesis import settings

settings.register_profile("unit", deadline=None)
settings.load_profile("unit")
