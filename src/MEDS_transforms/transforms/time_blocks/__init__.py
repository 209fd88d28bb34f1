"""The blocks of add_time_derived_measurements: each reads its settings, and makes rows for a shard."""
