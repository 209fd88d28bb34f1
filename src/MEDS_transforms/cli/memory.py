"""How long polars keeps memory that it has freed."""

import os

_ALLOCATOR = "_RJEM_MALLOC_CONF"
"""What configures jemalloc, the allocator of polars on most systems; elsewhere nobody reads it."""
_KEEP = "dirty_decay_ms:5000"


def keep_freed_memory() -> None:
    """Keeps what is freed for five seconds, so that the next shard uses it again, unless the user set this.

    NOTE: polars keeps it for half a second, and reads the variable once, when it is imported. Memory that the system
    gives anew must be cleared, page by page; that is a tenth of the processor time of a stage that writes large shards.
    """
    os.environ.setdefault(_ALLOCATOR, _KEEP)
