"""A photo in, the restored one out."""
