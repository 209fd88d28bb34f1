"""The same results as before, on real tables."""
