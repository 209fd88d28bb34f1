"""Every column of a MEDS dataset: its name, dtype, unit and meaning, in one place: `COLUMNS`."""

from typing import NamedTuple

import polars as pl

SUBJECT_ID = "subject_id"
TIME = "time"
CODE = "code"
NUMERIC_VALUE = "numeric_value"
CATEGORICAL_VALUE = "categorical_value"
TEXT_VALUE = "text_value"
BOOLEAN_VALUE = "boolean_value"

DESCRIPTION = "description"
PARENT_CODES = "parent_codes"

IS_INLIER = "numeric_value/is_inlier"
RANGE_FLAG = "numeric_value/range_flag"

CODE_PREFIX = "code/"
CODE_N_SUBJECTS = "code/n_subjects"
CODE_N_OCCURRENCES = "code/n_occurrences"
VALUES_N_SUBJECTS = "values/n_subjects"
VALUES_N_OCCURRENCES = "values/n_occurrences"
VALUES_N_INTS = "values/n_ints"
VALUES_SUM = "values/sum"
VALUES_SUM_SQD = "values/sum_sqd"
VALUES_MIN = "values/min"
VALUES_MAX = "values/max"
VALUES_MEAN = "values/mean"
VALUES_STD = "values/std"
VALUES_MEDIAN = "values/median"
VALUES_QUANTILES = "values/quantiles"
VALUES_QUANTILE = "values/quantile/"
TEXT_N_OCCURRENCES = "text_values/n_occurrences"
TEXT_N_DISTINCT = "text_values/n_distinct"
TEXT_MOST_FREQUENT = "text_values/most_frequent"
VOCAB_INDEX = "code/vocab_index"

SPLIT = "split"
TRAIN_SPLIT = "train"

START_TIME = "start_time"
TIME_DELTA_DAYS = "time_delta_days"
STATIC_CODE = "static_code"
STATIC_NUMERIC_VALUE = "static_numeric_value"
MEASUREMENTS_PER_EVENT = "measurements_per_event"


class Column(NamedTuple):
    """A column: its dtype (in words where it depends on the values), unit and meaning, and the files that have it."""

    name: str
    dtype: pl.DataType | str
    unit: str
    meaning: str
    found_in: str


DATA, CODES, SPLITS = "data", "code metadata", "splits"
STATIC, SEQUENCES = "tokenized data: schemas", "tokenized data: event_seqs"
FOR_MEDS_TORCH_DATA = "tokenized data: schemas, with `layout: meds_torch_data`"
_UNSIGNED = "the smallest unsigned type"
_TEXT, _TIME, _FLOAT, _EXACT = pl.String(), pl.Datetime("us"), pl.Float32(), pl.Float64()

COLUMNS = (
    Column(SUBJECT_ID, pl.Int64(), "", "the subject that was measured", DATA),
    Column(TIME, _TIME, "UTC where the source had a zone", "when, without a zone; null: static", DATA),
    Column(CODE, _TEXT, "", "what was measured", DATA),
    Column(NUMERIC_VALUE, _FLOAT, "the one that the code implies", "its value", DATA),
    Column(CATEGORICAL_VALUE, _TEXT, "", "a value that is a category", DATA),
    Column(TEXT_VALUE, _TEXT, "", "a value that is text", DATA),
    Column(BOOLEAN_VALUE, pl.Boolean(), "", "a value that is true or false", DATA),
    Column(IS_INLIER, pl.Boolean(), "", "false: the value was removed as wrong; null: none, or nothing known", DATA),
    Column(RANGE_FLAG, _TEXT, "", "whether the value is within its reference range; null: no value or no range", DATA),
    Column(CODE, _TEXT, "", "the code that a row describes; null: all codes together", CODES),
    Column(DESCRIPTION, _TEXT, "", "the code in words", CODES),
    Column(PARENT_CODES, pl.List(_TEXT), "", "more general codes", CODES),
    Column(CODE_N_SUBJECTS, _UNSIGNED, "subjects", "how many have the code", CODES),
    Column(CODE_N_OCCURRENCES, _UNSIGNED, "rows", "how many have the code", CODES),
    Column(VALUES_N_SUBJECTS, _UNSIGNED, "subjects", "how many have a value: not null, NaN or infinite", CODES),
    Column(VALUES_N_OCCURRENCES, _UNSIGNED, "rows", "how many have such a value", CODES),
    Column(VALUES_N_INTS, _UNSIGNED, "rows", "how many have such a value that is a whole number", CODES),
    Column(VALUES_SUM, _FLOAT, "that of the values", "the sum of these values", CODES),
    Column(VALUES_SUM_SQD, _FLOAT, "its square", "the sum of their squares", CODES),
    Column(VALUES_MIN, _FLOAT, "that of the values", "the least of them", CODES),
    Column(VALUES_MAX, _FLOAT, "that of the values", "the greatest of them", CODES),
    Column(VALUES_MEAN, _EXACT, "that of the values", "their mean", CODES),
    Column(VALUES_STD, _EXACT, "that of the values", "their standard deviation, that of a population", CODES),
    Column(VALUES_MEDIAN, _FLOAT, "that of the values", "their median: the value at the nearest rank", CODES),
    Column(VALUES_QUANTILES, "Struct of Float32", "that of the values", f"quantiles: `{VALUES_QUANTILE}<q>`", CODES),
    Column(TEXT_N_OCCURRENCES, _UNSIGNED, "rows", "how many have a text", CODES),
    Column(TEXT_N_DISTINCT, _UNSIGNED, "", "how many texts there are; 10,001: more than 10,000", CODES),
    Column(TEXT_MOST_FREQUENT, "List of Structs", "", "the most frequent texts: `value` and `count`", CODES),
    Column(VOCAB_INDEX, _UNSIGNED, "", "the number of the code in the vocabulary, from 1; null: none", CODES),
    Column(SUBJECT_ID, pl.Int64(), "", "the subject", SPLITS),
    Column(SPLIT, _TEXT, "", "its split: `train`, `tuning`, `held_out` or a name of the user's", SPLITS),
    Column(SUBJECT_ID, pl.Int64(), "", "the subject", STATIC),
    Column(CODE, "List of codes", "", "the codes of the static measurements; null: none", STATIC),
    Column(NUMERIC_VALUE, pl.List(_FLOAT), "", "their values", STATIC),
    Column(START_TIME, _TIME, "", "the time of the subject's first event; null: none", STATIC),
    Column(TIME, pl.List(_TIME), "", "the times of the events", STATIC),
    Column(STATIC_CODE, "List of codes", "", "the codes of the static measurements; null: none", FOR_MEDS_TORCH_DATA),
    Column(STATIC_NUMERIC_VALUE, pl.List(_FLOAT), "", "their values", FOR_MEDS_TORCH_DATA),
    Column(MEASUREMENTS_PER_EVENT, pl.List(pl.UInt32()), "rows", "how many each event has", FOR_MEDS_TORCH_DATA),
    Column(SUBJECT_ID, pl.Int64(), "", "the subject", SEQUENCES),
    Column(TIME_DELTA_DAYS, pl.List(_FLOAT), "days", "time since the previous event; NaN for the first", SEQUENCES),
    Column(CODE, "List of lists of codes", "", "the codes of each event", SEQUENCES),
    Column(NUMERIC_VALUE, pl.List(pl.List(_FLOAT)), "", "their values; NaN: missing or infinite", SEQUENCES),
)
"""The columns, file by file, in the order of the files."""


def _types(found_in: str, *names: str) -> dict[str, pl.DataType]:
    """The dtypes of these columns of a file, in the order of the table."""
    dtypes = {c.name: c.dtype for c in COLUMNS if c.found_in == found_in and c.name in names}
    return {name: dtype for name, dtype in dtypes.items() if isinstance(dtype, pl.DataType)}


MANDATORY_COLUMNS = [SUBJECT_ID, TIME, CODE, NUMERIC_VALUE]
"""The columns of every MEDS data file, in the order of the files."""

MANDATORY_TYPES = _types(DATA, *MANDATORY_COLUMNS, CATEGORICAL_VALUE, TEXT_VALUE)
"""The dtypes that MEDS prescribes for the mandatory columns and the optional value columns."""

CODE_METADATA_TYPES = _types(CODES, CODE, DESCRIPTION, PARENT_CODES)
"""The columns of every `codes.parquet`, in the order of the file."""

SPLIT_TYPES = _types(SPLITS, SUBJECT_ID, SPLIT)
"""The columns of `subject_splits.parquet`, in the order of the file."""

DEPRECATED_NAMES = {
    "numerical_value": NUMERIC_VALUE,
    "categoric_value": CATEGORICAL_VALUE,
    "category_value": CATEGORICAL_VALUE,
    "textual_value": TEXT_VALUE,
    "timestamp": TIME,
    "patient_id": SUBJECT_ID,
}
"""Column names of older MEDS data, and their successors."""
