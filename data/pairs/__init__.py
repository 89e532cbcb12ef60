"""Pictures with what hides parts of them: frozen for tests, endless for training."""
