"""Statistics of the codes of real datasets must be those that SQL finds, vocabularies and z-scores those of Python.

See `test_real_preprocessing` for the datasets.

Medians and quantiles are those at the nearest rank, of two the upper one, which SQL takes out of the sorted values.
"""

import math
import re

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


def dataset_in(folder, dataset):
    """The pre-processing of an extracted dataset; skips the test where there is none."""
    data = Preprocessing(folder)
    data.dataset.symlink_to(given((dataset,) if dataset else None)[0] / "expected" / "extraction")
    return data


@pytest.mark.parametrize("dataset", DATASETS or [None], ids=lambda dataset: dataset.name if dataset else "none")
def test_figures_of_codes(dataset, tmp_path):
    data = dataset_in(tmp_path, dataset)
    data.run("aggregate_code_metadata", aggregations=AGGREGATIONS, train_only=False)
    got = pl.read_parquet(data.cohort / "metadata/codes.parquet")
    files = f"read_parquet('{data.dataset}/data/*/*.parquet', union_by_name=true)"
    want = duckdb.sql(SQL.replace("from data", f"from {files}")).pl()
    assert want["text_values/n_distinct"].max() > 3
    assert_frame_equal(got.select(want.columns), want, check_dtypes=False, rel_tol=1e-9, abs_tol=1e-9)


def rows_of(data):
    """The subject, code and value of every row of a dataset, shard by shard."""
    shards = data.shards(data.dataset / "data")
    return {name: shard.select("subject_id", "code", "numeric_value").rows() for name, shard in shards.items()}


STAGES = ("aggregate_code_metadata", "fit_vocabulary_indices", "occlude_outliers", "normalization")


@pytest.mark.parametrize("dataset", DATASETS or [None], ids=lambda dataset: dataset.name if dataset else "none")
def test_vocabulary_and_values(dataset, tmp_path):
    """With means and deviations of their own, no sums are needed."""
    data = dataset_in(tmp_path, dataset)
    wanted = ["code/n_occurrences", "code/n_subjects", "values/mean", "values/std"]
    block = {"aggregations": wanted, "train_only": False}
    known = {"cfg_stage_configs": {STAGES[0]: block}}  # as a metadata stage
    data.run(STAGES[0], *STAGES, **block)
    rules = {"min_occurrences": 20, "min_subjects": 5, "drop": [{"regex": "^LAB.*mEq"}]}
    data.run(STAGES[1], *STAGES, ordering_method="frequency", reserved_tokens=["PAD", "UNK"], **rules, **known)
    data.run(STAGES[2], *STAGES, stddev_cutoff=2, **known)
    got = data.run(STAGES[3], *STAGES, **known)

    rows, subjects, values = {}, {}, {}
    for subject, code, value in (row for shard in rows_of(data).values() for row in shard):
        rows[code] = rows.get(code, 0) + 1
        subjects.setdefault(code, set()).add(subject)
        if value is not None and math.isfinite(value):
            values.setdefault(code, []).append(value)
    chosen = [c for c in rows if rows[c] >= 20 and len(subjects[c]) >= 5 and not re.search("^LAB.*mEq", c)]
    number = {code: n for n, code in enumerate(sorted(chosen, key=lambda c: (-rows[c], c)), start=3)}
    codes = pl.read_parquet(data.cohort / "metadata/codes.parquet")
    assert codes["code"].to_list() == [*sorted(rows), "PAD", "UNK"]
    assert codes["code/vocab_index"].to_list() == [*map(number.get, sorted(rows)), 1, 2]

    means = {code: math.fsum(of_code) / len(of_code) for code, of_code in values.items()}
    stds = {c: math.sqrt(math.fsum((v - means[c]) ** 2 for v in of) / len(of)) for c, of in values.items()}
    for name, shard in rows_of(data).items():
        want = [(number[code], code, value) for _, code, value in shard if code in number]
        assert got[name]["code"].to_list() == [n for n, _, _ in want]
        for found, (_, code, value) in zip(got[name]["numeric_value"], want, strict=True):
            if value is None or (code in means and abs(value - means[code]) > 2 * stds[code] * (1 + 1e-9)):
                assert found is None
            elif stds[code] > 1e-6 and abs(abs(value - means[code]) / stds[code] - 2) > 1e-6:
                assert math.isclose(found, (value - means[code]) / stds[code], rel_tol=1e-5, abs_tol=1e-5)
