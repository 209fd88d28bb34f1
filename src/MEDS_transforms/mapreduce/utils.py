"""The former public names of map-reduce; their homes are `claims`, `shards` and `..io`."""

from ..dataset.io import is_complete_parquet_file
from ..work.claims import rwlock_wrap
from .shards import shard_iterator, shard_iterator_by_shard_map, shuffle_shards

__all__ = [
    "is_complete_parquet_file",
    "rwlock_wrap",
    "shard_iterator",
    "shard_iterator_by_shard_map",
    "shuffle_shards",
]
