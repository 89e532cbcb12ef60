"""Several networks as one."""
