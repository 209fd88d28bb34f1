"""The former place of the stage aggregate_code_metadata, whose home is `metadata.aggregate_code_metadata`."""

from .metadata.aggregate_code_metadata import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
