"""The former place of the stage reshard_to_split, whose home is `transforms.reshard_to_split`."""

from .transforms.reshard_to_split import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
