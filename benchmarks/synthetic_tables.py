"""Makes the raw tables of a made-up hospital: patients, admissions, labs, vitals, medications.

At scale 1 there are 50,000 subjects and about 15 million rows, two thirds of them labs; the event file is copied
beside the tables, and `rows.json` says how many rows each has. Subjects come in blocks of 2,500, one block in memory at
a time. Each block and table has its own random stream, so the values depend on seed and scale only, not on the format.

    python benchmarks/synthetic_tables.py --format csv --scale 0.01

| table | rows at scale 1 | order of the rows | peculiarities |
|---|---|---|---|
| `hosp/patients` | 50 thousand | subject | static event, dates as text |
| `hosp/admissions` | 150 thousand | subject, time | several events per row, subject column `mrn` |
| `hosp/labs` | 10 million | subject, time | two time formats, number and text, repeated rows |
| `hosp/medications` | 0.8 million | subject | two events per row, doses that are not numbers |
| `icu/vitals` | 4 million | time, within a block | nearly all times distinct |
| `hosp/d_labs`, `icu/d_vitals` | a few hundred | item | describe the codes |
"""

import argparse
import gzip
import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

SUBJECTS_AT_SCALE_1 = 50_000
SUBJECTS_PER_BLOCK = 2_500
FORMATS = ("csv", "csv.gz", "parquet")
DATA_DIR = Path(__file__).parent / "data"
EVENT_FILE = Path(__file__).parent / "event_cfgs.yaml"

HOUR, DAY = 3600, 86_400
FIRST_ADMISSION, LAST_ADMISSION = 1_262_304_000, 1_577_836_800  # 2010 and 2020, in seconds since 1970
SECONDS_FORMAT, MINUTES_FORMAT, DATE_FORMAT = "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"

N_LAB_ITEMS, N_VITAL_ITEMS, N_DRUGS = 400, 60, 800
DRAWS_PER_ADMISSION, LABS_PER_DRAW = 9.5, 7.0
VITALS_PER_ADMISSION, MEDICATIONS_PER_ADMISSION = 26.7, 5.3
SECOND_FORMAT_SHARE, TEXT_RESULT_SHARE, REPEATED_ROW_SHARE = 0.005, 0.03, 0.005

LAB_UNITS = ["mg/dL", "mEq/L", "g/dL", "%", "K/uL", "m/uL", "IU/L", "mmol/L", "sec", "ng/mL", "pg/mL", None]
VITAL_UNITS = ["bpm", "mmHg", "%", "C", "insp/min", "L/min", None]
TEXT_RESULTS = ["NEG", "POS", "TR", "HEMOLYZED", "NOT DONE", "YELLOW", "CLEAR", "<5", ">300"]
PATIENT_SEXES = ["F", "M"]
ADMISSION_TYPES = ["EW EMER.", "URGENT", "ELECTIVE", "OBSERVATION ADMIT", "SURGICAL SAME DAY ADMISSION"]
ADMISSION_PLACES = [
    "EMERGENCY ROOM",
    "PHYSICIAN REFERRAL",
    "OTHER HOSPITAL",
    "WALK-IN/SELF REFERRAL",
    None,
]
DISCHARGE_PLACES = ["HOME", "HOME HEALTH CARE", "SKILLED NURSING FACILITY", "REHAB", "DIED", None]
INSURANCES = ["Medicare", "Medicaid", "Private", "Other", None]
DOSES = ["1", "2", "5", "10", "0.5", "20", "40", "100", "325", "500", "650", "1000", "1-2", "0.5-1", "5-10"]
DOSE_UNITS = ["mg", "mL", "TAB", "UNIT", "mcg", "g"]
ROUTES = ["PO", "IV", "SC", "IM", "PO/NG", "IH", None]

Catalogue = pl.DataFrame
Tables = dict[str, pl.DataFrame]


def generator(seed: int, *stream: int) -> np.random.Generator:
    """The random stream of one table in one block."""
    return np.random.default_rng([seed, *stream])


def picked(rng: np.random.Generator, values: list[str | None], n: int) -> pl.Series:
    """`n` random values, all equally likely."""
    return pl.Series(values, dtype=pl.String).gather(rng.integers(len(values), size=n))


def zipf(rng: np.random.Generator, n_items: int, n: int) -> np.ndarray:
    """`n` random positions below `n_items`, the first ones far more likely, like the codes of real hospitals."""
    shares = 1 / np.arange(1, n_items + 1)
    # Clipped because rounding may leave the last cumulative share below 1.
    return np.searchsorted(np.cumsum(shares / shares.sum()), rng.random(n)).clip(max=n_items - 1)


def time_text(column: str, time_format: str = SECONDS_FORMAT) -> pl.Expr:
    """Seconds since 1970 as text."""
    return pl.from_epoch(column, "s").dt.strftime(time_format)


def catalogue(rng: np.random.Generator, first_item: int, n: int, units: list[str | None], kind: str) -> Catalogue:
    """The items of labs or vitals: number, unit, names, and the mean of their values."""
    number = pl.int_range(n, eager=True)
    return pl.DataFrame(
        {
            "itemid": number + first_item,
            "valueuom": picked(rng, units, n),
            "label": pl.select(pl.format(f"{kind} {{}}", number)).to_series(),
            "abbreviation": pl.select(pl.format(f"{kind[0]}{{}}", number)).to_series(),
            "loinc": pl.select(pl.format("{}-{}", number + 10_000, number % 10)).to_series(),
            "mean": rng.lognormal(3.5, 1.2, n),
        }
    )


def patients(rng: np.random.Generator, subjects: np.ndarray) -> pl.DataFrame:
    """One row per subject; a tenth have died, a few of them with a date but no time of day."""
    n = len(subjects)
    return pl.DataFrame(
        {
            "subject_id": subjects,
            "sex": picked(rng, PATIENT_SEXES, n),
            "born": rng.integers(-50 * 365, 39 * 365, n) * DAY,
            "died": LAST_ADMISSION + rng.integers(30 * DAY, 1000 * DAY, n),
            "is_dead": rng.random(n) < 0.1,
            "date_only": rng.random(n) < 0.05,
        }
    ).select(
        "subject_id",
        "sex",
        time_text("born", DATE_FORMAT).alias("birth_date"),
        pl.when(~pl.col("is_dead"))
        .then(None)
        .when("date_only")
        .then(time_text("died", DATE_FORMAT))
        .otherwise(time_text("died"))
        .alias("death_time"),
    )


def stays(rng: np.random.Generator, subjects: np.ndarray, first_id: int) -> pl.DataFrame:
    """The admissions of a block with their times in seconds, in order of subject and time."""
    of_subject = np.repeat(subjects, 1 + rng.poisson(2, len(subjects)))
    n = len(of_subject)
    start = rng.integers(FIRST_ADMISSION, LAST_ADMISSION, n)
    return (
        pl.DataFrame(
            {
                "subject_id": of_subject,
                "start": start,
                "end": start + 6 * HOUR + (rng.exponential(4, n) * DAY).astype(np.int64),
            }
        )
        .sort("subject_id", "start", "end")
        .with_row_index("hadm_id", offset=first_id)
        .cast({"hadm_id": pl.Int64})
    )


def admissions(rng: np.random.Generator, stays: pl.DataFrame) -> pl.DataFrame:
    """The admissions as the hospital records them, most with an arrival at the emergency room."""
    n = stays.height
    return stays.with_columns(
        arrived=pl.col("start") - rng.integers(HOUR, 10 * HOUR, n),
        via_ed=rng.random(n) < 0.6,
        admission_type=picked(rng, ADMISSION_TYPES, n),
        admission_location=picked(rng, ADMISSION_PLACES, n),
        discharge_location=picked(rng, DISCHARGE_PLACES, n),
        insurance=picked(rng, INSURANCES, n),
    ).select(
        pl.col("subject_id").alias("mrn"),
        "hadm_id",
        pl.when("via_ed").then(time_text("arrived")).alias("edregtime"),
        time_text("start").alias("admittime"),
        time_text("end").alias("dischtime"),
        "admission_type",
        "admission_location",
        "discharge_location",
        "insurance",
    )


def during(rng: np.random.Generator, stays: pl.DataFrame, mean_per_stay: float) -> pl.DataFrame:
    """Moments within the stays, geometrically many in each: `subject_id`, `hadm_id`, `at` in seconds."""
    per_stay = rng.geometric(1 / (1 + mean_per_stay), stays.height) - 1
    moments = stays[np.repeat(np.arange(stays.height), per_stay)]
    length = (moments["end"] - moments["start"]).to_numpy()
    return moments.select(
        "subject_id", "hadm_id", at=pl.col("start") + (rng.random(moments.height) * length).astype(np.int64)
    )


def labs(rng: np.random.Generator, stays: pl.DataFrame, items: Catalogue, first_id: int) -> pl.DataFrame:
    """Blood draws of a stay, several results each, in order of subject and time; some rows come twice."""
    draws = during(rng, stays, DRAWS_PER_ADMISSION).with_columns(pl.col("at") // 60 * 60).sort("subject_id", "at")
    rows = np.repeat(np.arange(draws.height), 1 + rng.poisson(LABS_PER_DRAW - 1, draws.height))
    n = len(rows)
    item = items[zipf(rng, items.height, n)]
    results = draws[rows].with_columns(
        itemid=item["itemid"],
        valueuom=item["valueuom"],
        number=(item["mean"] * rng.normal(1, 0.2, n)).round(2),
        is_text=rng.random(n) < TEXT_RESULT_SHARE,
        text=picked(rng, TEXT_RESULTS, n),
        without_seconds=rng.random(n) < SECOND_FORMAT_SHARE,
        is_outpatient=rng.random(n) < 0.15,
        abnormal=rng.random(n) < 0.3,
        stat=rng.random(n) < 0.4,
    )
    repeats = np.arange(n) - (rng.random(n) < REPEATED_ROW_SHARE)
    return lab_rows(results[repeats.clip(min=0)], first_id)


def lab_rows(results: pl.DataFrame, first_id: int) -> pl.DataFrame:
    """The table of laboratory results."""
    return results.with_row_index("labevent_id", offset=first_id).select(
        pl.col("labevent_id").cast(pl.Int64),
        "subject_id",
        pl.when(~pl.col("is_outpatient")).then("hadm_id"),
        "itemid",
        pl.when("without_seconds").then(time_text("at", MINUTES_FORMAT)).otherwise(time_text("at")).alias("charttime"),
        pl.when("is_text").then("text").otherwise(pl.col("number").cast(pl.String)).alias("value"),
        pl.when(~pl.col("is_text")).then("number").alias("valuenum"),
        "valueuom",
        pl.when("abnormal").then(pl.lit("abnormal")).alias("flag"),
        pl.when("stat").then(pl.lit("STAT")).otherwise(pl.lit("ROUTINE")).alias("priority"),
    )


def vitals(rng: np.random.Generator, stays: pl.DataFrame, items: Catalogue) -> pl.DataFrame:
    """Readings of monitors in order of time, so a subject's rows are scattered."""
    moments = during(rng, stays, VITALS_PER_ADMISSION)
    n = moments.height
    item = items[zipf(rng, items.height, n)]
    return (
        moments.with_columns(
            itemid=item["itemid"],
            valuenum=(item["mean"] * rng.normal(1, 0.1, n)).round(1),
            valueuom=item["valueuom"],
            warning=(rng.random(n) < 0.05).astype(np.int64),
        )
        .sort("at", maintain_order=True)
        .with_columns(time_text("at").alias("charttime"))
        .select("subject_id", "hadm_id", "charttime", "itemid", "valuenum", "valueuom", "warning")
    )


def medications(rng: np.random.Generator, stays: pl.DataFrame) -> pl.DataFrame:
    """Orders of drugs in order of subject, with a dose as text, most of them with an end."""
    orders = during(rng, stays, MEDICATIONS_PER_ADMISSION)
    n = orders.height
    drugs = pl.select(pl.format("Drug {}", pl.int_range(N_DRUGS))).to_series()
    return orders.with_columns(
        stop=pl.col("at") + rng.integers(HOUR, 5 * DAY, n),
        is_open=rng.random(n) < 0.1,
        drug=drugs[zipf(rng, N_DRUGS, n)],
        dose=picked(rng, DOSES, n),
        dose_unit=picked(rng, DOSE_UNITS, n),
        route=picked(rng, ROUTES, n),
    ).select(
        "subject_id",
        "hadm_id",
        time_text("at").alias("starttime"),
        pl.when(~pl.col("is_open")).then(time_text("stop")).alias("stoptime"),
        "drug",
        "dose",
        "dose_unit",
        "route",
    )


def catalogues(seed: int) -> dict[str, Catalogue]:
    """The tables that describe codes, with the mean of each item, which is not written to the file."""
    return {
        "hosp/d_labs": catalogue(generator(seed, 0, 0), 50_000, N_LAB_ITEMS, LAB_UNITS, "Lab test"),
        "icu/d_vitals": catalogue(generator(seed, 0, 1), 220_000, N_VITAL_ITEMS, VITAL_UNITS, "Vital sign"),
    }


def block_tables(seed: int, block: int, subjects: np.ndarray, items: dict[str, Catalogue]) -> Tables:
    """All tables' rows for one block of subjects."""
    stream = partial(generator, seed, 1 + block)
    of_block = stays(stream(0), subjects, first_id=20_000_000 + 100_000 * block)
    return {
        "hosp/patients": patients(stream(1), subjects),
        "hosp/admissions": admissions(stream(2), of_block),
        "hosp/labs": labs(stream(3), of_block, items["hosp/d_labs"], first_id=10_000_000 * block),
        "hosp/medications": medications(stream(4), of_block),
        "icu/vitals": vitals(stream(5), of_block, items["icu/d_vitals"]),
    }


def all_tables(seed: int, scale: float) -> Iterator[Tables]:
    """The tables block by block, the code descriptions first."""
    items = catalogues(seed)
    yield {name: frame.drop("mean") for name, frame in items.items()}
    subjects = 10_000_000 + 17 * np.arange(max(1, round(SUBJECTS_AT_SCALE_1 * scale)))
    for block, first in enumerate(range(0, len(subjects), SUBJECTS_PER_BLOCK)):
        yield block_tables(seed, block, subjects[first : first + SUBJECTS_PER_BLOCK], items)


class CsvTable:
    """A csv file that grows block by block; compressed if its name ends in `.gz`."""

    def __init__(self, file: Path) -> None:
        self.raw = file.open("wb")
        # The gzip header gets neither name nor time, so that the same tables give the same bytes.
        compressed = gzip.GzipFile("", "wb", 6, self.raw, mtime=0) if file.suffix == ".gz" else None
        self.out = compressed or self.raw
        self.n_rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Appends a block."""
        self.out.write(frame.write_csv(include_header=not self.n_rows).encode())
        self.n_rows += frame.height

    def close(self) -> None:
        """Completes the file."""
        self.out.close()
        self.raw.close()


class ParquetTable:
    """A parquet file that is assembled from one part per block, in bounded memory."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.parts = file.with_suffix(".parts")
        self.parts.mkdir()
        self.part_files: list[Path] = []
        self.n_rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Stores a block as a part."""
        self.part_files.append(self.parts / f"{len(self.part_files)}.parquet")
        frame.write_parquet(self.part_files[-1])
        self.n_rows += frame.height

    def close(self) -> None:
        """Joins the parts in order."""
        pl.scan_parquet(self.part_files, glob=False).sink_parquet(self.file)
        shutil.rmtree(self.parts)


def write_tables(blocks: Iterator[Tables], folder: Path, file_format: str) -> dict[str, int]:
    """Writes every table in one of `FORMATS`, and counts the rows of each."""
    tables: dict[str, CsvTable | ParquetTable] = {}
    for block in blocks:
        for name, frame in block.items():
            if name not in tables:
                file = folder / f"{name}.{file_format}"
                file.parent.mkdir(parents=True, exist_ok=True)
                tables[name] = ParquetTable(file) if file_format == "parquet" else CsvTable(file)
            tables[name].add(frame)
    for table in tables.values():
        table.close()
    return {name: table.n_rows for name, table in tables.items()}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--format", choices=FORMATS, default="csv", help="of all tables [csv]")
    parser.add_argument("--scale", type=float, default=1.0, help="1: 50,000 subjects, 15 million rows [1]")
    parser.add_argument("--seed", type=int, default=1, help="of all values [1]")
    parser.add_argument("--output", type=Path, help="an empty or new folder [data/raw-FORMAT-SCALE]")
    args = parser.parse_args()
    args.output = args.output or DATA_DIR / f"raw-{args.format}-{args.scale:g}"
    if args.scale <= 0:
        parser.error(f"--scale {args.scale:g} makes no subjects: give a number above 0")
    if args.output.is_dir() and any(args.output.iterdir()):
        parser.error(f"{args.output} is not empty: remove it or give another --output")
    return args


def main() -> None:
    """Makes the tables and prints how many rows they have."""
    args = arguments()
    n_rows = write_tables(all_tables(args.seed, args.scale), args.output, args.format)
    shutil.copy(EVENT_FILE, args.output / EVENT_FILE.name)
    (args.output / "rows.json").write_text(json.dumps(n_rows) + "\n")
    for name, n in n_rows.items():
        print(f"{name:<20}{n:>12,} rows")
    print(f"{'in all':<20}{sum(n_rows.values()):>12,} rows in {args.output}")


if __name__ == "__main__":
    main()
