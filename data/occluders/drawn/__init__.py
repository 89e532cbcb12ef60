"""Occluders that are drawn, a file a family."""
