"""Map a function over shards with many workers, and reduce what they computed."""

from ..work.claims import rwlock_wrap
from .mapper import map_over
from .shards import shard_iterator, shard_iterator_by_shard_map

__all__ = ["map_over", "rwlock_wrap", "shard_iterator", "shard_iterator_by_shard_map"]
