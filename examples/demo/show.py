"""Shows what is in a MEDS dataset: splits and shards, the commonest codes, a subject's rows, the files."""

import argparse
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

METADATA = ("codes.parquet", "dataset.json", "subject_splits.parquet")
MAX_CODES = 15
MAX_ROWS = 8


def read_shards(cohort: Path) -> pl.DataFrame:
    """All measurements, with the `shard` and the `split` that each is in."""
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
    """Codes with their rows, subjects and description, the commonest first."""
    counts = rows.group_by("code").agg(
        pl.len().alias("rows"),
        pl.col("subject_id").n_unique().alias("subjects"),
        pl.col("numeric_value").mean().round(2).alias("mean value"),
    )
    described = counts.join(codes.select("code", "description"), on="code", how="left")
    return described.sort(["rows", "code"], descending=[True, False])


def as_text(cell: object) -> str:
    """A cell for the screen: nothing where there is nothing."""
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
    """A frame for the screen, numbers to the right."""
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
    console.print(as_table(by_code.head(MAX_CODES), f"The commonest of {len(by_code)} codes"))
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


def main() -> None:
    """The command line: which dataset."""
    parser = argparse.ArgumentParser(description="Show what is in a MEDS dataset.")
    parser.add_argument("cohort", type=Path, help="the dataset's folder, with data/ and metadata/ in it")
    show(parser.parse_args().cohort, Console())


if __name__ == "__main__":
    main()
