"""Train what a table lacks, then make it."""
