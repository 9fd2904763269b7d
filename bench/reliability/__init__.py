"""Measures calls under faults: `python -m bench.reliability FIGURE`."""
