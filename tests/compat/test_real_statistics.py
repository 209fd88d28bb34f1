"""Statistics of the codes of real datasets must be those that SQL finds; see `test_real_preprocessing` for these.

Medians and quantiles are those at the nearest rank, of two the upper one, which SQL takes out of the sorted values.
"""

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from compat.test_real_preprocessing import DATASETS, given
from helpers import Preprocessing

pytestmark = pytest.mark.slow

SQL = """
with rows as (
  select code, text_value, case when isfinite(numeric_value) then numeric_value end as value from data
),
texts as (
  select code, text_value as value, count(*)::ubigint as count,
    row_number() over (partition by code order by count(*) desc, text_value) as nth
  from rows where text_value is not null group by code, text_value
),
most as (
  select code, list({'value': value, 'count': count} order by nth) as most from texts where nth <= 3 group by code
),
figures as (
  select code, list(value order by value) filter (value is not null) as sorted, count(value) as n, avg(value) as mean,
    stddev_pop(value) as std, count(text_value) as n_texts, count(distinct text_value) as n_distinct
  from rows group by code
)
select code, sorted[1 + floor((n - 1) * 0.5 + 0.5)::int] as "values/median",
  sorted[1 + floor((n - 1) * 0.1 + 0.5)::int] as "values/quantile/0.1", mean as "values/mean", std as "values/std",
  n_texts as "text_values/n_occurrences", n_distinct as "text_values/n_distinct", most as "text_values/most_frequent"
from figures left join most using (code) order by code
"""
AGGREGATIONS = [
    "values/median",
    {"name": "values/quantiles", "quantiles": [0.1], "as_columns": True},
    "values/mean",
    "values/std",
    "text_values/n_occurrences",
    "text_values/n_distinct",
    {"name": "text_values/most_frequent", "n": 3},
]


@pytest.mark.parametrize("dataset", DATASETS or [None], ids=lambda dataset: dataset.name if dataset else "none")
def test_figures_of_codes(dataset, tmp_path):
    folder = given((dataset,) if dataset else None)[0] / "expected" / "extraction"
    data = Preprocessing(tmp_path)
    data.dataset.symlink_to(folder)
    data.run("aggregate_code_metadata", aggregations=AGGREGATIONS, train_only=False)
    got = pl.read_parquet(data.cohort / "metadata/codes.parquet")
    files = f"read_parquet('{folder}/data/*/*.parquet', union_by_name=true)"
    want = duckdb.sql(SQL.replace("from data", f"from {files}")).pl()
    assert want["text_values/n_distinct"].max() > 3
    assert_frame_equal(got.select(want.columns), want, check_dtypes=False, rel_tol=1e-9, abs_tol=1e-9)
