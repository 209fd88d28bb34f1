"""The former place of the stage fit_vocabulary_indices, whose home is `metadata.fit_vocabulary_indices`."""

from .metadata.fit_vocabulary_indices import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
