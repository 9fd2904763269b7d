"""`ops/` without its servers."""
