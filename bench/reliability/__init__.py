"""How calls behave while things break, in figures: `python -m bench.reliability FIGURE`."""
