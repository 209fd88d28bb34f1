"""The former place of `MEDS_transforms.transforms.reshard_to_split`."""

from .transforms.reshard_to_split import Resharding, main, put_apart, put_together, read_splits, run

__all__ = ["Resharding", "main", "put_apart", "put_together", "read_splits", "run"]

if __name__ == "__main__":
    main()
