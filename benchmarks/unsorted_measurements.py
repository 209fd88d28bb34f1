"""Turns the synthetic tables into unsorted measurements, which meds_etl sorts: what its users have to write themselves.

    python benchmarks/unsorted_measurements.py RAW UNSORTED

The measurements are those of floor_extraction.py, one file per event, written in bounded memory.
"""

import json
import sys
from pathlib import Path

import polars as pl
from floor_extraction import all_events, measurements


def main(raw: Path, folder: Path) -> None:
    """Makes the folder."""
    for part in ("unsorted_data", "metadata"):
        (folder / part).mkdir(parents=True)
    schema = measurements(raw).collect_schema()
    for number, event in enumerate(all_events(raw)):
        missing = [
            pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in event.collect_schema()
        ]
        rows = event.with_columns(missing).select(schema.names())
        rows.sink_parquet(folder / f"unsorted_data/{number}.parquet")
    (folder / "metadata/dataset.json").write_text(json.dumps({"dataset_name": "synthetic", "dataset_version": "1"}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
