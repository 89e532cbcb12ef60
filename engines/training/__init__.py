"""One run, from settings to weights."""
