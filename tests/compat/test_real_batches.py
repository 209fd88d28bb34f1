"""Fixed batches of real tensors are what DuckDB finds in the rows that normalization made."""

from pathlib import Path

import duckdb
import polars as pl
import pytest

from helpers import Preprocessing
from MEDS_transforms.tensors.fixed_batches import read_batches
from MEDS_transforms.transforms.batch_tensors import main

from .test_real_preprocessing import DATASETS, given, name_of

PARAMS = [(dataset, "batches") for dataset in DATASETS] or [None]
LAST = """
SELECT subject_id, count(*), sum(code::BIGINT), count(value), round(sum(value), 3) FROM (
    SELECT subject_id, code, if(isfinite(numeric_value), numeric_value, NULL) AS value,
        row_number() OVER (PARTITION BY subject_id ORDER BY time DESC, place DESC) AS from_the_end
    FROM rows WHERE time IS NOT NULL
) WHERE from_the_end <= 100 GROUP BY subject_id ORDER BY subject_id
"""


@pytest.mark.parametrize("param", PARAMS, ids=name_of)
def test_batches_have_the_last_measurements_of_each_subject(param, tmp_path: Path):
    cohort = given(param)[0] / "expected" / "preprocessing"
    paths = sorted((cohort / "normalization" / "train").glob("*.parquet"))
    rows = pl.concat(pl.read_parquet(path, glob=False) for path in paths).with_row_index("place")
    with duckdb.connect() as database:
        database.register("rows", rows.to_arrow())
        expected = database.execute(LAST).fetchall()
    block = {"data_input_dir": str(cohort / "data"), "output_dir": str(tmp_path / "batches"), "max_length": 100}
    main(Preprocessing(tmp_path).cfg("batch_tensors", batch_size=7, **block))
    found = []
    for batch in read_batches(tmp_path / "batches", "train"):
        for subject, code, mask, value, has_value in zip(
            *(batch[name] for name in ("subject_id", "code", "mask", "numeric_value", "numeric_value_mask")),
            strict=True,
        ):
            total = round(float(value.sum(dtype=float)), 3) if has_value.any() else None
            found.append((int(subject), int(mask.sum()), int(code.sum()), int(has_value.sum()), total))
    assert sorted(found) == [(*figures, pytest.approx(total, abs=2e-3)) for *figures, total in expected]
