"""Every column of a MEDS dataset: its name, dtype, unit and meaning, in one place.

| column | dtype | meaning |
|---|---|---|
| `subject_id` | Int64 | the subject that was measured |
| `time` | Datetime[us] | when, without a zone (UTC where the source had one); null: static |
| `code` | String | what was measured |
| `numeric_value` | Float32 | its value, in the unit that the code implies |
| `categorical_value`, `text_value` | String | a value that is not a number |
| `description` | String | a code in words (code metadata) |
| `parent_codes` | List(String) | more general codes (code metadata) |
| `numeric_value/is_inlier` | Boolean | whether the value is near its code's mean; null: no value or no mean |
| `code/n_subjects`, `code/n_occurrences` | unsigned | subjects with the code; rows (code metadata) |
| `values/n_subjects`, `values/n_occurrences` | unsigned | the same over rows with a value, neither null nor NaN |
| `values/n_ints` | unsigned | those of these values that are whole numbers |
| `values/sum`, `values/sum_sqd`, `values/min`, `values/max` | Float32 | of these values |
| `values/mean`, `values/std` | Float64 | of these values; `std` is that of a population |
| `values/quantiles` | Struct of Float32 | of these values, each as `values/quantile/<q>` |
| `code/vocab_index` | unsigned | the number of a code in the vocabulary, from 1 (code metadata) |
| `split` | String | the split of a subject: `train`, `tuning`, `held_out` or a name of the user's |
| `start_time` | Datetime[us] | the time of a subject's first event (tokenized data) |
| `time_delta_days` | List(Float32) | days since the previous event, NaN for the first (tokenized data) |
"""

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
VALUES_QUANTILES = "values/quantiles"
VALUES_QUANTILE = "values/quantile/"
VOCAB_INDEX = "code/vocab_index"

SPLIT = "split"
TRAIN_SPLIT = "train"

START_TIME = "start_time"
TIME_DELTA_DAYS = "time_delta_days"

MANDATORY_COLUMNS = [SUBJECT_ID, TIME, CODE, NUMERIC_VALUE]
"""The columns of every MEDS data file, in the order of the files."""

MANDATORY_TYPES: dict[str, pl.DataType] = {
    SUBJECT_ID: pl.Int64(),
    TIME: pl.Datetime("us"),
    CODE: pl.String(),
    NUMERIC_VALUE: pl.Float32(),
    CATEGORICAL_VALUE: pl.String(),
    TEXT_VALUE: pl.String(),
}
"""The dtypes that MEDS prescribes for the mandatory columns and the optional value columns."""

CODE_METADATA_TYPES: dict[str, pl.DataType] = {
    CODE: pl.String(),
    DESCRIPTION: pl.String(),
    PARENT_CODES: pl.List(pl.String()),
}
"""The columns of every `codes.parquet`, in the order of the file."""

DEPRECATED_NAMES = {
    "numerical_value": NUMERIC_VALUE,
    "categoric_value": CATEGORICAL_VALUE,
    "category_value": CATEGORICAL_VALUE,
    "textual_value": TEXT_VALUE,
    "timestamp": TIME,
    "patient_id": SUBJECT_ID,
}
"""Column names of older MEDS data, and their successors."""
