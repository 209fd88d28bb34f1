"""Shows a MEDS dataset: splits and shards, the most common codes, the rows of a subject, the files.

Given a pre-processed dataset as well, shows the tensor of its first subject.
"""

import argparse
from pathlib import Path

import polars as pl
from nested_ragged_tensors.ragged_numpy import JointNestedRaggedTensorDict
from rich.console import Console
from rich.table import Table

MAX_CODES = 15
MAX_ROWS = 8
MAX_EVENTS = 8
FIRST_SHARD = "train/0"


def read_shards(cohort: Path) -> pl.DataFrame:
    """All measurements, with their `shard` and `split`."""
    data = cohort / "data"
    paths = sorted(data.rglob("*.parquet"))
    if not paths:
        raise SystemExit(f"There is no MEDS data in {data}: run the extraction first.")
    shards = (
        pl.scan_parquet(path, glob=False).with_columns(
            shard=pl.lit(path.relative_to(data).with_suffix("").as_posix()),
            split=pl.lit(path.parent.relative_to(data).as_posix()),
        )
        for path in paths
    )
    return pl.concat(shards, how="diagonal_relaxed").collect()


def count_by(rows: pl.DataFrame, key: str) -> pl.DataFrame:
    """Rows, rows with a number, subjects and codes for each value of `key`, in order of appearance."""
    return rows.group_by(key, maintain_order=True).agg(
        pl.len().alias("rows"),
        pl.col("numeric_value").count().alias("with a number"),
        pl.col("subject_id").n_unique().alias("subjects"),
        pl.col("code").n_unique().alias("codes"),
    )


def count_codes(rows: pl.DataFrame, codes: pl.DataFrame) -> pl.DataFrame:
    """Codes with their rows, subjects and description, the most common first."""
    counts = rows.group_by("code").agg(
        pl.len().alias("rows"),
        pl.col("subject_id").n_unique().alias("subjects"),
        pl.col("numeric_value").mean().round(2).alias("mean value"),
    )
    described = counts.join(codes.select("code", "description"), on="code", how="left")
    return described.sort(["rows", "code"], descending=[True, False])


def as_text(cell: object) -> str:
    """A cell as text; empty for null."""
    match cell:
        case None:
            return ""
        case int():
            return f"{cell:,}"
        case float():
            return f"{cell:g}"
        case _:
            return str(cell)


def as_table(frame: pl.DataFrame, title: str) -> Table:
    """A frame as a table for the terminal, numbers right-aligned."""
    table = Table(title=title, title_justify="left")
    for name, dtype in frame.schema.items():
        table.add_column(name, justify="right" if dtype.is_numeric() else "left", overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*map(as_text, row))
    return table


def show(cohort: Path, console: Console) -> None:
    """Prints the tables."""
    rows = read_shards(cohort)
    codes = pl.read_parquet(cohort / "metadata" / "codes.parquet", glob=False)
    by_code = count_codes(rows, codes)
    console.print(as_table(count_by(rows, "split"), "Splits"))
    console.print(as_table(count_by(rows, "shard"), "Shards: a file each"))
    console.print(as_table(by_code.head(MAX_CODES), f"The most common of {len(by_code)} codes"))
    subject = rows.filter(pl.col("subject_id") == rows["subject_id"].min()).drop("shard", "split")
    subject = subject.with_columns(pl.selectors.integer().cast(pl.String))
    console.print(as_table(subject.head(MAX_ROWS), "The first rows of one subject"))
    console.print("Where it is:", style="bold")
    for name in (
        "data",
        "metadata/codes.parquet",
        "metadata/dataset.json",
        "metadata/subject_splits.parquet",
    ):
        console.print(f"  {cohort / name}", soft_wrap=True, highlight=False)


def first_subject(tensors: Path) -> str:
    """The first subject of the first shard, by the stage before, whose data may not have been kept."""
    path = tensors / "tokenization" / "event_seqs" / f"{FIRST_SHARD}.parquet"
    return f"subject {pl.read_parquet(path, glob=False)['subject_id'][0]}" if path.exists() else "the first subject"


def read_first_tensor(tensors: Path) -> pl.DataFrame:
    """The tensor of the first subject of the first shard as text, with a row per event and without padding."""
    codes = pl.read_parquet(tensors / "metadata" / "codes.parquet", glob=False)
    words = dict(codes.select("code/vocab_index", "code").iter_rows())
    dense = JointNestedRaggedTensorDict(tensors_fp=tensors / "data" / f"{FIRST_SHARD}.nrt")[0].to_dense()
    measured = dense["dim1/mask"]
    events = {
        "time_delta_days": [f"{days:.2f}" for days in dense["time_delta_days"]],
        "code": [" ".join(map(str, code[mask])) for code, mask in zip(dense["code"], measured, strict=True)],
        "numeric_value": [
            " ".join(f"{value:.2f}" for value in values[mask])
            for values, mask in zip(dense["numeric_value"], measured, strict=True)
        ],
        "the codes in words": [
            "\n".join(words[index] for index in code[mask]) for code, mask in zip(dense["code"], measured, strict=True)
        ],
    }
    return pl.DataFrame(events)


def show_tensor(tensors: Path, console: Console) -> None:
    """Prints the first events of the first subject's tensor."""
    events = read_first_tensor(tensors)
    title = f"The tensor of {first_subject(tensors)}: the first of its {len(events)} events"
    console.print(as_table(events.head(MAX_EVENTS), title))
    console.print("The tensors of all subjects:", style="bold")
    console.print(f"  {tensors / 'data'}", soft_wrap=True, highlight=False)


def main() -> None:
    """Shows the datasets that the command line names."""
    parser = argparse.ArgumentParser(description="Show what is in a MEDS dataset.")
    parser.add_argument("cohort", type=Path, help="the dataset's folder, with data/ and metadata/ in it")
    parser.add_argument("tensors", type=Path, nargs="?", help="the folder of the pre-processed dataset")
    arguments = parser.parse_args()
    show(arguments.cohort, console := Console())
    if arguments.tensors:
        show_tensor(arguments.tensors, console)


if __name__ == "__main__":
    main()
