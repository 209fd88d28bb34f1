"""Workers that are killed, paused, or run out of disk."""
