"""Small shards, and workers that are processes of their own."""

from shard_workers import workers

__all__ = ["workers"]
