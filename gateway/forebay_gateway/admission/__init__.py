"""Decides which calls to accept: limits, fair shares, full queues. Pure, except the monitor."""
