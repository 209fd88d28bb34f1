"""The former place of `MEDS_transforms.metadata.aggregate_code_metadata`."""

from .metadata.aggregate_code_metadata import count_subjects_once, main, merge, read_parts, run, summarize

__all__ = ["count_subjects_once", "main", "merge", "read_parts", "run", "summarize"]

if __name__ == "__main__":
    main()
