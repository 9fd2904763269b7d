"""The live workers as the gateway sees them, and what is wrong with them."""
