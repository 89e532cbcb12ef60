"""Which photos and videos a command line means, where results go, what became of each."""
