"""Every column of a MEDS dataset: its name, dtype, unit and meaning, in one place.

| column | dtype | meaning |
|---|---|---|
| `subject_id` | Int64 | whose measurement it is |
| `time` | Datetime[us] | when, without a zone (UTC where the source had one); null: static |
| `code` | String | what was measured |
| `numeric_value` | Float32 | its value, in the unit the code implies |
| `categorical_value`, `text_value` | String | a value that is no number |
| `description` | String | a code in words (code metadata) |
| `parent_codes` | List(String) | more general codes (code metadata) |
| `split` | String | the split of a subject: `train`, `tuning`, `held_out` or a name of the user's |
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

SPLIT = "split"
TRAIN_SPLIT = "train"

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
"""The dtypes that MEDS fixes: of the mandatory columns and of the optional values."""

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
"""Names that older MEDS data used, and what they are called now."""
