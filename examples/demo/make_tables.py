"""Writes the raw tables of a made-up hospital; the same seed gives the same bytes.

| table | format | a row describes |
|---|---|---|
| `hosp/patients` | csv | a person |
| `hosp/admissions` | parquet | a stay in hospital |
| `hosp/labs` | csv.gz | a laboratory result |
| `hosp/d_labs` | csv | a kind of laboratory test |
| `icu/vitals` | parquet | a bedside observation |

The tables are deliberately as untidy as real ones: ids have another name in every table, times are text in two
formats, some results are words, some cells are empty.
"""

import argparse
import gzip
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

N_SUBJECTS = 300
EPOCH = datetime(2015, 1, 1)

LABS = pl.DataFrame(
    [
        # lab_id, label, long name, LOINC, unit, mean, standard deviation
        (50912, "Creatinine", "Creatinine in serum or plasma", "2160-0", "mg/dL", 1.0, 0.3),
        (50971, "Potassium", None, "2823-3", "mmol/L", 4.1, 0.5),
        (50983, "Sodium", None, "2951-2", "mmol/L", 139.0, 3.0),
        (51222, "Hemoglobin", "Hemoglobin in blood", "718-7", "g/dL", 13.0, 1.8),
        (51301, "White cells", "Leukocytes in blood", "6690-2", "K/uL", 8.0, 2.5),
        (51484, "Ketones", "Ketones in urine", "2514-8", None, None, None),
    ],
    schema=["lab_id", "label", "long_name", "loinc", "unit", "mean", "std"],
    orient="row",
)
VITALS = {"heart_rate": (82, 14), "sbp": (121, 17), "temperature": (36.9, 0.5)}
WARDS = ["medicine", "surgery", "cardiology", None]
ADMISSION_TYPES = ["emergency", "elective", "urgent"]
CREATININE, KETONES = 50912, 51484


def after_epoch(seconds: np.ndarray) -> np.ndarray:
    """Times in microseconds, from seconds since the hospital's first day."""
    return np.datetime64(EPOCH, "us") + seconds.astype("timedelta64[s]")


def make_patients(rng: np.random.Generator, n: int) -> pl.DataFrame:
    """One row per person: `patient`, `sex`, `born` (text), `died` (text, mostly empty)."""
    born = [EPOCH - timedelta(days=int(days)) for days in rng.integers(18 * 365, 90 * 365, n)]
    died = [EPOCH + timedelta(days=int(days)) if days < 4000 else None for days in rng.integers(1200, 30_000, n)]
    return pl.DataFrame(
        {
            "patient": rng.permutation(np.arange(10_000, 10_000 + n)),
            "sex": rng.choice(["F", "M"], n),
            "born": [day.strftime("%Y-%m-%d") for day in born],
            "died": [day and day.strftime("%Y-%m-%d") for day in died],
        }
    )


def make_admissions(rng: np.random.Generator, patients: pl.Series) -> pl.DataFrame:
    """One row per stay: `mrn`, `stay`, `admitted`, `discharged` (datetime), `type`, `ward`, `insurance`."""
    mrn = np.repeat(patients.to_numpy(), rng.poisson(1.6, len(patients)) + 1)
    admitted = rng.integers(0, 3 * 365 * 86_400, len(mrn))
    return pl.DataFrame(
        {
            "mrn": mrn,
            "stay": np.arange(700_000, 700_000 + len(mrn)),
            "admitted": after_epoch(admitted),
            "discharged": after_epoch(admitted + rng.integers(6 * 3600, 12 * 86_400, len(mrn))),
            "type": rng.choice(ADMISSION_TYPES, len(mrn)),
            "ward": [WARDS[i] for i in rng.integers(0, len(WARDS), len(mrn))],
            "insurance": rng.choice(["public", "private", "none"], len(mrn)),
        }
    )


def during(stays: pl.DataFrame, rng: np.random.Generator, mean: float) -> tuple[pl.DataFrame, pl.Series]:
    """The stays, each repeated about `mean` times, and a random time within the stay for each repetition."""
    rows = stays[np.repeat(np.arange(len(stays)), rng.poisson(mean, len(stays)))]
    length = rows["discharged"] - rows["admitted"]
    share = pl.Series((rng.random(len(rows)) * 1000).astype("int64"))
    times = rows["admitted"] + (length.cast(pl.Int64) // 1000 * share).cast(length.dtype)
    return rows, times.dt.truncate("1s")


def make_labs(rng: np.random.Generator, stays: pl.DataFrame) -> pl.DataFrame:
    """One row per result: `subject`, `stay`, `drawn` and `result` (both text), `lab_id`, `unit`, `flag`."""
    rows, drawn = during(stays, rng, 12)
    labs = LABS[rng.integers(0, len(LABS), len(rows))]
    noise = pl.Series(rng.normal(size=len(rows)))
    words = pl.Series(rng.choice(["NEGATIVE", "TRACE", "POSITIVE"], len(rows)))
    date_only, too_low = (pl.Series(rng.random(len(rows)) < share) for share in (0.05, 0.02))
    return labs.select(
        subject=rows["mrn"],
        stay=rows["stay"],
        drawn=pl.when(date_only).then(drawn.dt.strftime("%d/%m/%Y")).otherwise(drawn.dt.strftime("%Y-%m-%d %H:%M:%S")),
        lab_id="lab_id",
        result=pl.when(pl.col("lab_id") == KETONES)
        .then(words)
        .when((pl.col("lab_id") == CREATININE) & too_low)
        .then(pl.lit("<0.2"))
        .otherwise((pl.col("mean") + noise * pl.col("std")).round(1).cast(pl.String)),
        unit="unit",
        flag=pl.when(noise.abs() > 2).then(pl.lit("abnormal")),
    )


def make_vitals(rng: np.random.Generator, stays: pl.DataFrame) -> pl.DataFrame:
    """One row per observation: `subject_id`, `seen` (datetime), `vital`, `value`, `note` (mostly empty)."""
    rows, seen = during(stays, rng, 10)
    vital = rng.choice([*VITALS], len(rows))
    mean, std = (np.array([VITALS[name][i] for name in vital]) for i in (0, 1))
    return pl.DataFrame(
        {
            "subject_id": rows["mrn"].cast(pl.Int32),
            "seen": seen,
            "vital": vital,
            "value": np.round(rng.normal(mean, std), 1),
            "note": ["patient moving" if share < 0.03 else None for share in rng.random(len(rows))],
        }
    )


def make_tables(seed: int = 1, n_subjects: int = N_SUBJECTS) -> dict[str, pl.DataFrame]:
    """All tables, by the path of their file below the input folder."""
    rng = np.random.default_rng(seed)
    patients = make_patients(rng, n_subjects)
    admissions = make_admissions(rng, patients["patient"])
    return {
        "hosp/patients.csv": patients,
        "hosp/admissions.parquet": admissions,
        "hosp/labs.csv.gz": make_labs(rng, admissions),
        "hosp/d_labs.csv": LABS.select("lab_id", "unit", "label", "long_name", "loinc"),
        "icu/vitals.parquet": make_vitals(rng, admissions),
    }


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Writes a table in the format that the file name implies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".csv.gz"):
        # NOTE: by default gzip puts the time of writing into the file.
        path.write_bytes(gzip.compress(table.write_csv().encode(), mtime=0))
    elif path.suffix == ".csv":
        table.write_csv(path)
    else:
        table.write_parquet(path)


def main() -> None:
    """Writes the tables as the command line says."""
    parser = argparse.ArgumentParser(description="Write the raw tables of the demo.")
    parser.add_argument("folder", type=Path, help="where the tables go")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--subjects", type=int, default=N_SUBJECTS)
    args = parser.parse_args()
    for name, table in make_tables(args.seed, args.subjects).items():
        write_table(table, args.folder / name)


if __name__ == "__main__":
    main()
