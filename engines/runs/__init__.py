"""A run: its settings, its folder, its weights."""
