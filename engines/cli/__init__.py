"""What the scripts at the root call."""
