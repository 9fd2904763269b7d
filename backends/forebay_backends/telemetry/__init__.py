"""Traces and logs: spans, the format of log lines, and the call that a line belongs to."""
