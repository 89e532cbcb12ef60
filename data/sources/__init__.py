"""What a run's data settings mean: opened, split, described."""
