"""Every kind of finding: how much it matters, and what to do. The guide `validate.md` explains them in a table."""

from typing import NamedTuple

from ..remarks import Severity

ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE


class Kind(NamedTuple):
    """Its severity; what to do; and of kinds that are counted in rows, what these are."""

    severity: Severity
    remedy: str
    rows: str = ""


_SORT = "Sort the rows by subject_id and time, nulls first, with a stable sort, and write the shard again."
_MAKE_AGAIN = "Make the file again, or change its permissions; remove it if it is no part of the dataset."
_CAST = "Cast the column, and write the file again."

KINDS = {
    # the folder
    "no_data": Kind(ERROR, "A MEDS dataset has its shards below data/. Name the folder that has data/ and metadata/."),
    "not_meds": Kind(ERROR, "Name the folder of a MEDS dataset."),
    "missing_file": Kind(WARNING, "MEDS describes the file; tools that need it will stop. Write it."),
    "missing_codes": Kind(ERROR, "Write the file, with a row for every code of the data."),
    "unreadable": Kind(ERROR, _MAKE_AGAIN),
    "temporary": Kind(WARNING, "Remove it, unless a program is just writing it: tools may read it as a shard."),
    "leftover_lock": Kind(WARNING, "See that no program is writing here any more, then remove it."),
    "other_file": Kind(NOTE, "It is no part of the dataset: tools read the files that end in .parquet."),
    "missing_shard": Kind(WARNING, "Run the pipeline that makes the dataset to its end."),
    "empty_shard": Kind(NOTE, ""),
    "no_measurements": Kind(WARNING, "See whether what wrote the dataset found its input."),
    # columns
    "missing_column": Kind(ERROR, "Write the file again with the column."),
    "column_type": Kind(ERROR, _CAST),
    "text_layout": Kind(
        WARNING,
        "The bytes are the same, and readers such as polars and pandas see no difference; the meds package refuses the "
        "file. Cast the column with pyarrow before the file is written.",
    ),
    "repeated_column": Kind(ERROR, "Give each column a name of its own."),
    "extra_column": Kind(ERROR, "Drop the column: MEDS permits no others in this file."),
    "columns_differ": Kind(WARNING, "Give the column one type in all shards, so that they can be read as one table."),
    # rows of shards
    "null_subject": Kind(ERROR, "Drop the rows, or give them their subject.", "whose subject_id is null"),
    "null_code": Kind(ERROR, "Drop the rows, or give them a code.", "whose code is null"),
    "empty_code": Kind(WARNING, "Give the rows a code, or drop them.", "whose code is empty text"),
    "not_contiguous": Kind(ERROR, _SORT, "where a subject begins again after others"),
    "time_order": Kind(ERROR, _SORT, "earlier than the row before, of the same subject"),
    "static_order": Kind(ERROR, _SORT, "without a time (static) after rows of the same subject that have one"),
    "subject_in_two_shards": Kind(ERROR, "Put all rows of a subject into one shard."),
    "future_time": Kind(
        WARNING, "Correct the times, unless they were shifted on purpose to hide who it is.", "whose time is to come"
    ),
    "early_time": Kind(
        WARNING, "Correct the times: see whether they stand for a missing one.", "whose time is before 1850"
    ),
    "not_finite": Kind(WARNING, "Write null for a missing value.", "whose numeric_value is NaN or infinite"),
    "birth_repeats": Kind(WARNING, "A subject is born once: keep one of them.", "with another birth of their subject"),
    "birth_after_events": Kind(
        WARNING, "Correct the time of birth, or of what is before it.", "with a birth after earlier events"
    ),
    "death_repeats": Kind(WARNING, "A subject dies once: keep one of them.", "with another death of their subject"),
    "death_before_events": Kind(
        WARNING,
        "See whether the day of death is known only, or the later times are wrong.",
        "with a death before events",
    ),
    # codes.parquet
    "null_described_code": Kind(ERROR, "Drop the rows of the file whose code is null, or give them one."),
    "code_repeats": Kind(
        WARNING,
        "MEDS permits it only where code modifiers tell the rows apart: name these in code_modifier_columns of "
        "dataset.json, or keep one row.",
    ),
    "undescribed_codes": Kind(
        WARNING,
        "MEDS wants a row for every code; it may be missing after pre-processing only. Add the rows "
        "(include_all_codes: true of finalize_MEDS_metadata does it).",
    ),
    "unused_codes": Kind(NOTE, ""),
    "outside_parents": Kind(NOTE, "MEDS permits it: they are codes of another vocabulary."),
    "own_parent": Kind(WARNING, "Take the code out of its own parent_codes."),
    # dataset.json
    "dataset_json": Kind(ERROR, "Correct metadata/dataset.json."),
    "created_at": Kind(WARNING, "Write the time as ISO 8601, such as 2026-01-31T12:00:00."),
    "meds_version": Kind(NOTE, "Name the other version with --meds, if the dataset follows that one."),
    "listed_column": Kind(WARNING, "Correct the list in metadata/dataset.json."),
    # splits
    "null_split": Kind(ERROR, "Give every row of the file a subject and a split."),
    "subject_in_two_splits": Kind(ERROR, "Give each subject one split."),
    "split_row_repeats": Kind(WARNING, "Keep one row for each subject."),
    "subject_without_split": Kind(ERROR, "Give every subject a split in metadata/subject_splits.parquet."),
    "split_without_data": Kind(NOTE, "Drop them from metadata/subject_splits.parquet, unless they were filtered out."),
    "other_split_in_folder": Kind(
        WARNING,
        "MEDS gives folders no meaning, but tools that read the folder of a split would read these subjects too: shard "
        "the data anew (reshard_to_split).",
    ),
    "split_name": Kind(NOTE, "MEDS permits it; tools look for train, tuning and held_out."),
}
