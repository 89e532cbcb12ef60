"""A network, ready to be asked."""
