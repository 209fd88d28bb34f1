"""The event conversion file: which rows of which tables become which measurements, and how the tables are read."""
