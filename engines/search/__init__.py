"""Search a run's loss weights."""
