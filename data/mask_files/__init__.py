"""Your own mask files: read, told from pictures, turned like their photo, and paired by name."""
