"""The claims of a worker on its calls: renewing them, giving them back, ending what is over."""
