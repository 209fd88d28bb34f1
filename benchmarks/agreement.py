"""Counts the measurements of a cohort, and says whether two cohorts hold the same.

    python benchmarks/agreement.py count COHORT
    python benchmarks/agreement.py compare GOT WANT

It runs as a process of its own, because the benchmarks must stay small. The data of a cohort are tables (a dataset) or
tensors (the result of a pre-processing). Tables are compared file by file; if that fails, the rows of all files
together, in any order. Tensors are equal if all numbers are, but for normalized values, which may differ by
`TOLERANCE` deviations, since 32-bit sums depend on the order of adding. Prints JSON: a number, or a list of
differences.
"""

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
from nested_ragged_tensors.ragged_numpy import JointNestedRaggedTensorDict

TOLERANCE = 0.05
VALUES = "dim2/numeric_value"


def files(folder: Path, suffix: str) -> dict[str, Path]:
    """The files of a cohort's data by their names below the folder; where these are batches, those of its tensors."""
    root = folder / ("tensorization" if (folder / "data" / "batches.json").exists() else "data")
    return {str(path.relative_to(folder)): path for path in sorted(root.rglob(f"*{suffix}"))}


def n_measurements(cohort: Path) -> int:
    """The measurements in the data; in tensors those with a time, since the others are not in them."""
    tensors = files(cohort, ".nrt").values()
    if tensors:
        return sum(len(read_tensors(path).get("dim2/code", ())) for path in tensors)
    return sum(
        pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
        for path in files(cohort, ".parquet").values()
    )


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors in a file."""
    return JointNestedRaggedTensorDict(tensors_fp=path).tensors


def differences(got: Path, want: Path) -> list[str]:
    """How the data and the codes of two cohorts differ; empty if they are the same."""
    if files(want, ".nrt"):
        found = tensor_differences(files(got, ".nrt"), files(want, ".nrt"))
    else:
        found = row_differences(files(got, ".parquet"), files(want, ".parquet"))
    codes = (folder / "metadata/codes.parquet" for folder in (got, want))
    return found + code_differences(*codes)


def tensor_differences(got: dict[str, Path], want: dict[str, Path]) -> list[str]:
    """How tensors differ, file by file."""
    if got.keys() != want.keys():
        return [f"files of tensors: {len(got)} against {len(want)}, or of other names"]
    return [f"{name}: {d}" for name in want for d in tensors_differ(read_tensors(got[name]), read_tensors(want[name]))]


def tensors_differ(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> list[str]:
    """How the tensors of two files differ."""
    if got.keys() != want.keys():
        return [f"tensors {sorted(got)} against {sorted(want)}"]
    found = []
    for key, wanted in want.items():
        tolerance = TOLERANCE if key == VALUES else 0
        same_type = got[key].dtype == wanted.dtype and got[key].shape == wanted.shape
        if not same_type or not np.allclose(got[key], wanted, rtol=0, atol=tolerance, equal_nan=True):
            found.append(f"{key} differs")
    return found


def row_differences(got: dict[str, Path], want: dict[str, Path]) -> list[str]:
    """How tables differ: not at all, in the order or the files of their rows, or in the rows."""
    if got.keys() == want.keys() and all(same_rows(got[name], want[name]) for name in want):
        return []
    columns = dict(pl.read_parquet_schema(next(iter(want.values()))))
    if not got:
        return ["there are no tables"]
    if missing := [name for name in columns if name not in pl.read_parquet_schema(next(iter(got.values())))]:
        return [f"columns are missing: {', '.join(missing)}"]
    sums = [multiset(paths, columns) for paths in (got, want)]
    if sums[0] == sums[1]:
        return ["the same rows in another order, or in other files"]
    return [f"other rows: {sums[0][0]:,} against {sums[1][0]:,}"]


def same_rows(got: Path, want: Path) -> bool:
    """Whether two tables are equal in the columns of the second."""
    wanted, found = (pl.read_parquet(path, glob=False) for path in (want, got))
    return set(wanted.columns) <= set(found.columns) and found.select(wanted.columns).equals(wanted)


def multiset(paths: dict[str, Path], columns: dict[str, pl.DataType]) -> tuple[int, int]:
    """The number of rows and the sum of their hashes, which do not depend on their order."""
    n, total = 0, 0
    for path in paths.values():
        rows = pl.read_parquet(path, glob=False).select(pl.col(name).cast(dtype) for name, dtype in columns.items())
        n, total = n + rows.height, total + int(rows.hash_rows().cast(pl.Int128).sum() or 0)
    return n, total


def code_differences(got: Path, want: Path) -> list[str]:
    """How the metadata of codes differs in the codes and columns of the second; sums may differ by rounding."""
    if not want.exists():
        return []
    if not got.exists():
        return ["codes.parquet is missing"]
    wanted, found = pl.read_parquet(want, glob=False), pl.read_parquet(got, glob=False)
    rows = wanted.select("code").join(found, on="code", how="left", maintain_order="left", nulls_equal=True)
    differ = [name for name in wanted.columns if name not in found.columns or not alike(rows[name], wanted[name])]
    more = found.height - wanted.height
    return [f"codes.parquet: {', '.join(differ)} differs"] * bool(differ) + [f"codes.parquet: {more} more codes"] * (
        more > 0
    )


def alike(got: pl.Series, want: pl.Series) -> bool:
    """Whether two columns have the same values, numbers up to rounding in 32 bits."""
    if not want.dtype.is_numeric():
        return got.equals(want, check_dtypes=False)
    numbers = (column.cast(pl.Float64).fill_null(float("nan")).to_numpy() for column in (got, want))
    return np.allclose(*numbers, rtol=1e-3, atol=0, equal_nan=True)


if __name__ == "__main__":
    if sys.argv[1] == "count":
        print(json.dumps(n_measurements(Path(sys.argv[2]))))
    else:
        print(json.dumps(differences(Path(sys.argv[2]), Path(sys.argv[3]))))
