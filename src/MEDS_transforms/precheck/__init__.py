"""What can be known of a run before any work: how it is reported, what messages say, and the folders it needs."""
