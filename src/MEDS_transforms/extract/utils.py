"""The former public name for finding a raw table; its home is `tables`."""

from .tables import READERS, get_supported_fp

__all__ = ["READERS", "get_supported_fp"]
