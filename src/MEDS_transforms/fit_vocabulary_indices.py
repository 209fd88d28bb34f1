"""The former place of `MEDS_transforms.metadata.fit_vocabulary_indices`."""

from .metadata.fit_vocabulary_indices import main, run, with_vocabulary_indices

__all__ = ["main", "run", "with_vocabulary_indices"]

if __name__ == "__main__":
    main()
