"""Rows measured on frozen pairs, and kept."""
