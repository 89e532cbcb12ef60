"""Faces that are drawn, where no photographs are at hand."""
