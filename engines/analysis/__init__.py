"""Look inside trained networks."""
