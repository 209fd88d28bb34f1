"""Pre-processes a MEDS dataset with one plain polars script in memory: the floor that the suite is measured against.

    python benchmarks/floor_preprocessing.py DATASET COHORT [--all-columns]

It does what the eleven stages of preprocessing.py do with the settings there, without what makes a suite: no
configuration, no checks, no workers, no files between the steps, no continuation, and it holds all shards in memory.
The tensors and codes.parquet are those of the suite.

The tensors need four columns of the data, so it reads no others; with `--all-columns` it carries the others along up to
the normalization, as stages must whose output anybody may read.
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl
from nested_ragged_tensors.ragged_numpy import JointNestedRaggedTensorDict

MIN_MEASUREMENTS, MIN_EVENTS, MIN_SUBJECTS, MIN_OCCURRENCES, CUTOFF = 20, 5, 2, 3, 4.5
SECONDS_PER_YEAR = 365.2422 * 24 * 60 * 60
MICROSECONDS_PER_DAY = 24 * 60 * 60 * 1_000_000
COLUMNS = ("subject_id", "time", "code", "numeric_value")

Shards = dict[str, pl.DataFrame]


def read_shards(folder: Path, all_columns: bool) -> Shards:
    """The shards by name, without subjects that have little data."""
    shards = {}
    for path in sorted(folder.rglob("*.parquet")):
        rows = pl.scan_parquet(path, glob=False)
        rows = (rows if all_columns else rows.select(COLUMNS)).collect()
        counts = rows.group_by("subject_id").agg(n=pl.col("time").count(), n_events=pl.col("time").n_unique())
        enough = counts.filter(pl.col("n") >= MIN_MEASUREMENTS, pl.col("n_events") >= MIN_EVENTS)["subject_id"]
        rows = rows.filter(pl.col("subject_id").is_in(enough.implode()))
        shards[str(path.relative_to(folder).with_suffix(""))] = with_age_and_time_of_day(rows)
    return shards


def with_age_and_time_of_day(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows, and before them at every time one with the time of day and, after birth, one with the age."""
    times = rows.select("subject_id", "time").drop_nulls().unique(maintain_order=True)
    hour = pl.col("time").dt.hour()
    time_of_day = times.with_columns(
        code=pl.when(hour < 6)
        .then(pl.lit("TIME_OF_DAY//[00,06)"))
        .when(hour < 12)
        .then(pl.lit("TIME_OF_DAY//[06,12)"))
        .when(hour < 18)
        .then(pl.lit("TIME_OF_DAY//[12,18)"))
        .otherwise(pl.lit("TIME_OF_DAY//[18,24)"))
    )
    birth = rows.filter(pl.col("code") == "MEDS_BIRTH").group_by("subject_id").agg(birth=pl.col("time").min())
    since = (pl.col("time") - pl.col("birth")).dt.total_microseconds() / 1e6
    age = (
        times.join(birth, on="subject_id", maintain_order="left")
        .filter(pl.col("time") > pl.col("birth"))
        .select("subject_id", "time", code=pl.lit("AGE"), numeric_value=(since / SECONDS_PER_YEAR).cast(pl.Float32))
    )
    merged = pl.concat([time_of_day, age, rows], how="diagonal").select(rows.columns)
    return merged.sort("subject_id", "time", nulls_last=False, maintain_order=True)


def fitted(shards: Shards, *figures: str) -> pl.DataFrame:
    """Figures of each code over the train split; sums of 32-bit floats, shard by shard, as the suite's defaults."""
    value = pl.col("numeric_value")
    value = pl.when(value.is_finite()).then(value)
    of_shard = {
        "code/n_occurrences": pl.len(),
        "code/n_subjects": pl.col("subject_id").n_unique(),
        "values/n_occurrences": value.count(),
        "values/sum": value.sum(),
        "values/sum_sqd": (value * value).sum(),
    }
    parts = [
        rows.group_by("code").agg(of_shard[name].alias(name) for name in figures)
        for shard, rows in shards.items()
        if shard.startswith("train/")
    ]
    return pl.concat(parts).group_by("code").agg(pl.col(figures).sum()).sort("code")


def with_mean_and_std(rows: pl.DataFrame, codes: pl.DataFrame, *more: str) -> pl.DataFrame:
    """The rows with the mean and the deviation of their code, null where it has no values."""
    n = pl.col("values/n_occurrences").cast(pl.Float32)
    mean = pl.col("values/sum") / n
    std = (pl.col("values/sum_sqd") / n - mean * mean).sqrt()
    found = codes.select("code", *more, mean=pl.when(n > 0).then(mean), std=pl.when(n > 0).then(std))
    return rows.join(found, on="code", how="left", maintain_order="left")


def without_outliers(rows: pl.DataFrame, codes: pl.DataFrame) -> pl.DataFrame:
    """Values that are far from their code's mean become null."""
    value = pl.col("numeric_value")
    near = (value - pl.col("mean")).abs() <= CUTOFF * pl.col("std")
    kept = pl.when(near.fill_null(True)).then(value).alias("numeric_value")
    return with_mean_and_std(rows, codes).with_columns(kept).drop("mean", "std")


def normalized(rows: pl.DataFrame, codes: pl.DataFrame) -> pl.DataFrame:
    """Codes as numbers, values as distances from the mean in deviations; rows of unknown codes are dropped."""
    score = ((pl.col("numeric_value") - pl.col("mean")) / pl.col("std")).cast(pl.Float32)
    found = with_mean_and_std(rows, codes, "code/vocab_index")
    found = found.select("subject_id", "time", code="code/vocab_index", numeric_value=score)
    return found.filter(pl.col("code").is_not_null())


def tensors(rows: pl.DataFrame) -> JointNestedRaggedTensorDict:
    """The measurements with a time as nested ragged tensors: subjects, events, measurements."""
    rows = rows.filter(pl.col("time").is_not_null())
    if rows.is_empty():
        return JointNestedRaggedTensorDict({})
    subject, time = rows["subject_id"].to_numpy(), rows["time"].to_physical().to_numpy()
    new_subject = np.append(True, subject[1:] != subject[:-1])
    event_starts = np.flatnonzero(new_subject | np.append(True, time[1:] != time[:-1]))
    first_of_subject = new_subject[event_starts]
    delta = np.diff(time[event_starts], prepend=0) / MICROSECONDS_PER_DAY
    values = rows["numeric_value"].fill_null(float("nan")).to_numpy()
    codes = rows["code"].to_numpy()
    found = {
        "dim1/bounds": np.append(np.flatnonzero(first_of_subject)[1:], len(event_starts)),
        "dim1/time_delta_days": np.where(first_of_subject, np.nan, delta).astype(np.float32),
        "dim2/bounds": np.append(event_starts[1:], rows.height),
        "dim2/code": codes.astype(np.min_scalar_type(codes.max())),
        "dim2/numeric_value": np.where(np.isfinite(values), values, np.float32(np.nan)),
    }
    schema = {name.partition("/")[2]: found[name].dtype.type for name in found if not name.endswith("bounds")}
    return JointNestedRaggedTensorDict(processed_tensors=found, schema=schema)


def main(dataset: Path, cohort: Path, all_columns: bool) -> None:
    """Makes the tensors and the metadata of codes."""
    shards = read_shards(dataset / "data", all_columns)
    counts = fitted(shards, "code/n_occurrences", "code/n_subjects")
    frequent = counts.filter(
        pl.col("code/n_subjects") >= MIN_SUBJECTS, pl.col("code/n_occurrences") >= MIN_OCCURRENCES
    )["code"].implode()
    shards = {name: rows.filter(pl.col("code").is_in(frequent)) for name, rows in shards.items()}

    values = ("values/n_occurrences", "values/sum", "values/sum_sqd")
    codes = fitted(shards, *values)
    shards = {name: without_outliers(rows, codes) for name, rows in shards.items()}

    codes = fitted(shards, "code/n_occurrences", "code/n_subjects", *values)
    codes = codes.join(
        pl.read_parquet(dataset / "metadata/codes.parquet"), on="code", how="left", maintain_order="left"
    )
    codes = codes.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).alias("code/vocab_index"))
    for name, rows in shards.items():
        path = cohort / "data" / f"{name}.nrt"
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors(normalized(rows, codes)).save(path)
    (cohort / "metadata").mkdir()
    codes.write_parquet(cohort / "metadata/codes.parquet")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), "--all-columns" in sys.argv[3:])
