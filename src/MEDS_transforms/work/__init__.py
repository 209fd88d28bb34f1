"""Files, claims, and notes of work: what workers share by way of the file system. Nothing here needs polars."""
