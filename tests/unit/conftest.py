"""Hypothesis' settings: no deadline for an example, since machines differ in speed."""

from hypothesis import settings

settings.register_profile("unit", deadline=None)
settings.load_profile("unit")
