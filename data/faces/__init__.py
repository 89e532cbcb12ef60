"""Faces on disk: found, split, cached, aligned, told apart."""
