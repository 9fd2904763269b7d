"""Traces and logs: which call a line of the log belongs to, the format of lines, and spans."""
