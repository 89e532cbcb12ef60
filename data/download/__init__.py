"""The public data sets, fetched and checked."""
