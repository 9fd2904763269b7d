"""The live workers, their problems, and the health of the backends."""
