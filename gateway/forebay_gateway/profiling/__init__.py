"""Where a gateway process spends its time: profiles, and callbacks that block the event loop."""
