"""Holes: from a folder, drawn, or as a segmenter finds them."""
