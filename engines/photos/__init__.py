"""A photo or video in, the restored one out."""
