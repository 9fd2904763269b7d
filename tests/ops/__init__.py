"""A gateway, workers, load and a real Prometheus, for the tests of `ops/` and its pictures."""
