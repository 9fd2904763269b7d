"""Which calls get in: limits, fair shares, full queues. Pure, but for the monitor."""
