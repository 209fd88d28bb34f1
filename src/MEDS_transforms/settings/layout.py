"""What the files and folders of a cohort, and of stages, are called."""

from pathlib import Path

DATA_DIR = "data"
METADATA_DIR = "metadata"

CODES_FILE = "codes.parquet"
SPLITS_FILE = "subject_splits.parquet"
DATASET_FILE = "dataset.json"
SHARD_MAP_FILE = ".shards.json"
ACCOUNTING_DIR = "accounting"
"""Below the metadata of a cohort: what became of every row, a file per stage."""

EVENT_CONFIG_FILE = "event_conversion_config.yaml"
"""The event conversion file as it was used, beside the pieces that were made with it."""
CHUNKS_FILE = "chunks.json"
"""The chunks of the raw tables, beside the pieces that were made of them."""

SCHEMAS_DIR = "schemas"
EVENT_SEQS_DIR = "event_seqs"
"""The two parts of tokenized data."""
TOKENIZATION = "tokenization"
"""The stage that writes them, and so its folder in a cohort."""
BATCHES_FILE = "batches.json"
"""What fixed batches are, beside them."""

TABLE_SUFFIXES = (".parquet", ".par", ".csv", ".csv.gz")
"""The formats of raw tables; if a table exists in several, the first of these is read."""


def accounting_path(cohort_dir: Path, stage: str) -> Path:
    """Where a stage writes what became of every row."""
    return cohort_dir / METADATA_DIR / ACCOUNTING_DIR / f"{stage}.json"
