"""Keeps waiting calls by tenant; weighted deficit round robin chooses the next to be sent."""
