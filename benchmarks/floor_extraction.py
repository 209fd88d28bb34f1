"""Extracts the synthetic tables with one plain polars script in memory: the floor that the suite is measured against.

    python benchmarks/floor_extraction.py RAW COHORT N_SUBJECTS_PER_SHARD

It does for these tables what event_cfgs.yaml says, without what makes a suite: no event file, no checks, no workers, no
files between the steps, no continuation, and it holds all measurements in memory. The cohort is that of the suite:
the same shards with the same rows, and the same metadata.
"""

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl

SECONDS, MINUTES, DAY = "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"
UNKNOWN = pl.lit("UNK")
SPLIT_FRACTIONS = {"train": 0.8, "tuning": 0.1, "held_out": 0.1}
SEED = 1
MEDS_COLUMNS = ("subject_id", "time", "code", "numeric_value")


def table(raw: Path, name: str) -> pl.LazyFrame:
    """A raw table; columns that are parts of codes, times or results are text."""
    texts = dict.fromkeys(("itemid", "charttime", "value", "valueuom", "dose"), pl.String)
    return pl.scan_csv(raw / f"{name}.csv", schema_overrides=texts, infer_schema_length=10_000)


def joined(prefix: str, *columns: str) -> pl.Expr:
    """A code of a fixed part and columns."""
    parts = (pl.col(c).cast(pl.String).fill_null(UNKNOWN) for c in columns)
    return pl.concat_str([pl.lit(prefix), *parts], separator="//")


def time(column: str, *formats: str) -> pl.Expr:
    """Text as a time by the first format that reads it."""
    texts = pl.col(column)
    return pl.coalesce(texts.str.to_datetime(f, time_unit="us", strict=False, cache=False) for f in formats)


def event(rows: pl.LazyFrame, code: pl.Expr, at: pl.Expr, subject: str = "subject_id", **values: pl.Expr):
    """The measurements of one event; rows without a time are dropped."""
    found = rows.select(subject_id=pl.col(subject), time=at, code=code, **values)
    return found.filter(pl.col("time").is_not_null())


def all_events(raw: Path) -> list[pl.LazyFrame]:
    """The measurements of every event, in the order of tables and events."""
    names = ("hosp/patients", "hosp/admissions", "hosp/labs", "hosp/medications", "icu/vitals")
    patients, admissions, labs, medications, vitals = (table(raw, name) for name in names)
    hadm = {"hadm_id": pl.col("hadm_id")}
    result, dose = (pl.col(name).cast(pl.Float64, strict=False) for name in ("value", "dose"))
    repeats_number = (result.cast(pl.Float32) == pl.col("valuenum").cast(pl.Float32)).fill_null(False)
    admission = joined("HOSPITAL_ADMISSION", "admission_type", "admission_location")
    sex = patients.select("subject_id", time=pl.lit(None, pl.Datetime("us")), code=joined("SEX", "sex"))
    return [
        sex,
        event(patients, pl.lit("MEDS_BIRTH"), time("birth_date", DAY)),
        event(patients, pl.lit("MEDS_DEATH"), time("death_time", SECONDS, DAY)),
        event(admissions, pl.lit("ED_ARRIVAL"), time("edregtime", SECONDS), "mrn", **hadm),
        event(admissions, admission, time("admittime", SECONDS), "mrn", insurance=pl.col("insurance"), **hadm),
        event(
            admissions, joined("HOSPITAL_DISCHARGE", "discharge_location"), time("dischtime", SECONDS), "mrn", **hadm
        ),
        event(
            labs,
            joined("LAB", "itemid", "valueuom"),
            time("charttime", SECONDS, MINUTES),
            numeric_value=pl.col("valuenum").cast(pl.Float32),
            text_value=pl.when(~repeats_number).then("value"),
            **hadm,
            flag=pl.col("flag"),
        ),
        event(
            medications,
            joined("MEDICATION//START", "drug"),
            time("starttime", SECONDS),
            numeric_value=dose.cast(pl.Float32),
            text_value=pl.when(dose.is_null()).then("dose"),
            dose_unit=pl.col("dose_unit"),
            route=pl.col("route"),
            **hadm,
        ),
        event(medications, joined("MEDICATION//STOP", "drug"), time("stoptime", SECONDS), **hadm),
        event(
            vitals,
            joined("VITAL", "itemid", "valueuom"),
            time("charttime", SECONDS),
            numeric_value=pl.col("valuenum").cast(pl.Float32),
            **hadm,
        ),
    ]


def measurements(raw: Path) -> pl.LazyFrame:
    """All measurements, in the order of tables, events and rows."""
    frame = pl.concat(all_events(raw), how="diagonal")
    return frame.select(*MEDS_COLUMNS, pl.exclude(MEDS_COLUMNS))


def shards_of(ids: np.ndarray, per_shard: int) -> dict[str, np.ndarray]:
    """Random splits, cut into shards, drawn as the suite draws them so that the cohorts can be compared."""
    rng = np.random.default_rng(SEED)
    order = [[*SPLIT_FRACTIONS][i] for i in rng.permutation(len(SPLIT_FRACTIONS))]
    ends = np.cumsum([round(SPLIT_FRACTIONS[split] * len(ids)) for split in order])[:-1]
    found = {}
    for split, members in zip(order, np.split(rng.permutation(ids), ends), strict=True):
        n = -(-len(members) // per_shard)
        parts = np.array_split(rng.permutation(members), n) if n > 1 else [members]
        found |= {f"{split}/{i}": part for i, part in enumerate(parts)}
    return found


def write_shards(data: pl.DataFrame, shards: dict[str, np.ndarray], folder: Path) -> None:
    """A file per shard, sorted by subject and time, without repeated rows."""
    numbers = np.repeat(np.arange(len(shards), dtype=np.uint32), [*map(len, shards.values())])
    shard_of = pl.DataFrame({"subject_id": np.concatenate([*shards.values()]), "shard": numbers})
    data = data.join(shard_of, on="subject_id", how="left", maintain_order="left")
    for (number,), rows in data.partition_by("shard", as_dict=True, include_key=False).items():
        path = folder / f"{[*shards][number]}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = rows.unique(maintain_order=True)
        rows.sort("subject_id", "time", maintain_order=True, nulls_last=False).write_parquet(path)


def described_codes(raw: Path, codes: pl.Series) -> pl.DataFrame:
    """Descriptions and parents of the codes in the data."""
    labs, vitals = (pl.read_csv(raw / f"{name}.csv", infer_schema=False) for name in ("hosp/d_labs", "icu/d_vitals"))
    of_labs = labs.select(
        code=joined("LAB", "itemid", "valueuom"),
        description=pl.coalesce("label", "abbreviation"),
        parent_codes=pl.concat_list(pl.format("LOINC/{}", "loinc")),
    )
    of_vitals = vitals.select(
        code=joined("VITAL", "itemid", "valueuom"), description=pl.format("{} ({})", "label", "abbreviation")
    )
    described = pl.concat([of_labs, of_vitals], how="diagonal")
    return described.filter(pl.col("code").is_in(codes.implode())).sort("code")


def main(raw: Path, cohort: Path, per_shard: int) -> None:
    """Makes the cohort."""
    metadata = cohort / "metadata"
    metadata.mkdir(parents=True)
    data = measurements(raw).collect()
    shards = shards_of(data["subject_id"].unique().sort().to_numpy(), per_shard)
    write_shards(data, shards, cohort / "data")
    described_codes(raw, data["code"].unique()).write_parquet(metadata / "codes.parquet")
    splits = np.repeat([name.partition("/")[0] for name in shards], [*map(len, shards.values())])
    subject_splits = pl.DataFrame({"subject_id": np.concatenate([*shards.values()]), "split": splits})
    subject_splits.write_parquet(metadata / "subject_splits.parquet")
    (metadata / ".shards.json").write_text(json.dumps({name: part.tolist() for name, part in shards.items()}))
    (metadata / "dataset.json").write_text(json.dumps({"dataset_name": "synthetic", "dataset_version": "1"}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
