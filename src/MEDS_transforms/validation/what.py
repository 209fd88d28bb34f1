"""What a folder is that is no MEDS dataset: tensors, tokenized data, a cohort that is not finished, raw tables."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.types as t

from ..dataset.schema import CODE, MANDATORY_COLUMNS, SUBJECT_ID, TIME, TIME_DELTA_DAYS
from ..errors import listed
from ..settings.layout import (
    CHUNKS_FILE,
    DATA_DIR,
    EVENT_SEQS_DIR,
    METADATA_DIR,
    SCHEMAS_DIR,
    SHARD_MAP_FILE,
    TABLE_SUFFIXES,
)
from ..work.files import files_below
from .columns import has, is_text
from .folder import PARQUET
from .shard_rows import UNREADABLE
from .tables import read_schema

_TENSORS, _TENSORS_IN_WORDS = ".nrt", "tensors, as the stage tensorization writes them"
_PREDICTION_TIME = "prediction_time"
_LOOKED_AT = 1000


def what_else(root: Path, shards: list[Path]) -> str | None:
    """What a folder is, in words, if it is certainly no MEDS dataset; None if it is one, or wants to be."""
    if shards:
        return _by_schema(shards)
    if not (root / DATA_DIR).is_dir():
        return _without_data(root)
    if has_suffix(files_below(root / DATA_DIR), _TENSORS):
        return _TENSORS_IN_WORDS
    return None


def _by_schema(shards: list[Path]) -> str | None:
    """What shards are, by the columns of the first that can be read."""
    schema = next(schemas(shards), None)
    if schema is None or ({*MANDATORY_COLUMNS} <= {*schema.names} and has(schema, CODE, is_text)):
        return None
    names = {*schema.names}
    if TIME_DELTA_DAYS in names or any(t.is_list(f.type) or t.is_large_list(f.type) for f in schema if f.name == TIME):
        return "tokenized data, as the stage tokenization writes them: a row for each subject"
    if {SUBJECT_ID, _PREDICTION_TIME} <= names:
        return "labels of a task, a row for each prediction"
    if {SUBJECT_ID, TIME} <= names and has(schema, CODE, t.is_integer):
        return "normalized data, as the stage normalization writes them: numbers instead of codes"
    return None


def schemas(shards: list[Path]) -> Iterator[pa.Schema]:
    """The arrow schemas of the files that can be read."""
    for path in shards:
        try:
            yield read_schema(path)[0]
        except UNREADABLE:
            continue


def _without_data(root: Path) -> str | None:
    if inside := sorted(path.parent.name for path in root.glob(f"*/{DATA_DIR}") if path.is_dir()):
        return f"a folder of datasets. Name one of them: {listed(inside)}"
    if (root / SCHEMAS_DIR).is_dir() and (root / EVENT_SEQS_DIR).is_dir():
        return "tokenized data, as the stage tokenization writes them"
    if (root / METADATA_DIR / SHARD_MAP_FILE).is_file() or any(root.glob(f"*/{CHUNKS_FILE}")):
        return f"a cohort in the middle of a pipeline: no stage has written {DATA_DIR}/ yet"
    if any(root.glob("*/.provenance/*.record")):
        return f"a cohort with the outputs of stages, of which none has written {DATA_DIR}/ yet"
    files = [*islice(files_below(root, apart_from=[root / METADATA_DIR]), _LOOKED_AT)]
    if has_suffix(files, _TENSORS):
        return _TENSORS_IN_WORDS
    found = [path for path in files if path.suffix == PARQUET]
    schema = next(schemas(found), None)
    if schema is None:
        return "raw tables" if has_suffix(files, *TABLE_SUFFIXES) else None
    if {SUBJECT_ID, TIME, CODE} <= {*schema.names}:
        return _by_schema(found) or "measurements without the folders of a dataset, such as a stage's output"
    return _by_schema(found) or "raw tables"


def has_suffix(files: Iterable[Path], *suffixes: str) -> bool:
    """Whether some file has a name with one of these ends."""
    return any(path.name.endswith(suffixes) for path in files)
