r"""Fits what a pipeline costs to the lines of scale.py, and says how long any number of rows will take.

    python benchmarks/cost_model.py --rows 1e9 --workers 16 --cores 4 [RECORD.jsonl ...]

The model is a sum, whose factors are fitted by least squares of the relative errors; none is negative:

- a start for each stage, and for each further worker of a stage;
- for each million rows what all cores share, and what a second core does not make faster (it may share its memory and
  caches with the first one), while more pairs of cores do;
- for each shard, in every stage, what the cores share;
- processor time likewise, but that all cores' adds up;
- memory: of every worker a fixed part and a part that grows with the rows in a shard;
- bytes on disk: in proportion to the rows.

What cannot be told apart in the lines (all with the same cores, say) is taken for shared. The model assumes that the
workers have cores and disks as fast as those it was fitted to, and that several machines share one disk without loss.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
DEFAULT_ROWS_PER_SHARD = 1_000_000


@dataclass(frozen=True)
class Case:
    """A run, or one to be foretold."""

    rows: float
    n_shards: float
    workers: int
    cores: int
    """The cores of all workers together."""
    n_stages: int

    @property
    def busy_cores(self) -> float:
        """The cores that have something to do: a worker without a shard has not."""
        return self.cores / self.workers * min(self.workers, self.n_shards)


Feature = Callable[[Case], float]

TIME: dict[str, Feature] = {
    "s per stage": lambda case: case.n_stages,
    "s per further worker and stage": lambda case: case.n_stages * (case.workers - 1),
    "core-s per million rows": lambda case: case.rows / 1e6 / case.busy_cores,
    "core-s per shard and stage": lambda case: case.n_shards * case.n_stages / case.busy_cores,
    "s per million rows and pair of cores": lambda case: case.rows / 1e6 / max(1, case.busy_cores / 2),
}
MEMORY: dict[str, Feature] = {
    "MiB": lambda _: 1,
    "MiB per worker": lambda case: case.workers,
    "MiB per worker and million rows of a shard": lambda case: case.workers * case.rows / 1e6 / case.n_shards,
}
DISK: dict[str, Feature] = {"MiB per million rows": lambda case: case.rows / 1e6}
CPU: dict[str, Feature] = {
    "s per stage and worker": lambda case: case.n_stages * case.workers,
    "s per million rows": lambda case: case.rows / 1e6,
    "s per shard and stage": lambda case: case.n_shards * case.n_stages,
}
FIGURES = {"wall_s": TIME, "cpu_s": CPU, "peak_mib": MEMORY, "files_mib": DISK}


@dataclass(frozen=True)
class Model:
    """The factors of one figure, and how well they explain what was measured."""

    factors: Mapping[str, float]
    errors: Sequence[float]
    """Of each measurement, foretold against measured: 0.1 is ten percent too much."""

    def __call__(self, case: Case, features: Mapping[str, Feature]) -> float:
        """What it foretells of a case."""
        return sum(factor * features[name](case) for name, factor in self.factors.items())


def fit(cases: Sequence[Case], measured: Sequence[float], features: Mapping[str, Feature]) -> Model:
    """The non-negative factors with the least squares of relative errors.

    Features that the cases cannot tell from earlier ones are left out, then the most negative one, until none is.
    """
    matrix = np.array([[feature(case) for feature in features.values()] for case in cases], dtype=float)
    target = np.array(measured, dtype=float)
    relative = matrix / target[:, None]
    kept = independent(relative)
    while True:
        found = np.linalg.lstsq(relative[:, kept], np.ones(len(target)), rcond=None)[0]
        if not len(kept) or found.min() >= 0:
            break
        kept = np.delete(kept, found.argmin())
    names = list(features)
    factors = {names[i]: float(factor) for i, factor in zip(kept, found, strict=True)}
    return Model(factors, (relative[:, kept] @ found - 1).tolist())


def independent(matrix: np.ndarray) -> np.ndarray:
    """The columns that are no combinations of those before them."""
    scaled = matrix / np.where(matrix.any(axis=0), np.linalg.norm(matrix, axis=0), 1)
    kept: list[int] = []
    for column in range(matrix.shape[1]):
        if np.linalg.matrix_rank(scaled[:, [*kept, column]], tol=1e-3) > len(kept):
            kept.append(column)
    return np.array(kept, dtype=int)


def case_of(line: Mapping[str, object]) -> Case:
    """The case of a line of scale.py, with the shards that there really were."""
    values = {name: line[name] for name in ("rows", "workers", "cores", "n_stages")}
    return Case(n_shards=line["n_data_files"], **values)


def models(lines: Sequence[Mapping[str, object]]) -> dict[str, Model]:
    """The model of each figure for the lines of one pipeline."""
    cases = [case_of(line) for line in lines]
    return {name: fit(cases, [line[name] for line in lines], features) for name, features in FIGURES.items()}


def by_pipeline(lines: Iterable[Mapping[str, object]], mode: str) -> dict[str, list[Mapping[str, object]]]:
    """The lines of one mode of the runner by pipeline."""
    found: dict[str, list[Mapping[str, object]]] = {}
    for line in lines:
        if line["mode"] == mode:
            found.setdefault(line["pipeline"], []).append(line)
    return found


def error_at_largest(lines: Sequence[Mapping[str, object]], figure: str) -> float | None:
    """The mean error at the largest size of a model that was fitted to the smaller ones; None if there is one size."""
    largest = max(line["scale"] for line in lines)
    smaller = [line for line in lines if line["scale"] < largest]
    if not smaller:
        return None
    model = models(smaller)[figure]
    held_out = [line for line in lines if line["scale"] == largest]
    return float(np.mean([model(case_of(line), FIGURES[figure]) / line[figure] - 1 for line in held_out]))


def read_lines(paths: Iterable[Path]) -> list[dict[str, object]]:
    """The lines of records."""
    return [json.loads(line) for path in paths for line in path.read_text().splitlines() if line]


def duration(seconds: float) -> str:
    """Seconds in words.

    >>> duration(5000)
    '1.4 h'
    """
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def report(lines: Sequence[Mapping[str, object]], case: Case) -> list[str]:
    """The answer for one pipeline, the factors of the model and its errors."""
    found = models(lines)
    time, cpu, memory, disk = (found[name](case, features) for name, features in FIGURES.items())
    gib = f"{memory / 1024:.1f} GiB of memory in all workers, {disk / 1024:.1f} GiB of files"
    answer = [f"{duration(time)}, {cpu / 3600:.1f} core-hours, {gib}"]
    for name, model in found.items():
        errors = np.abs(model.errors)
        factors = ", ".join(f"{value:.4g} {factor}" for factor, value in model.factors.items())
        checked = error_at_largest(lines, name)
        against = "" if checked is None else f"; fitted without the largest size it is {checked:+.0%} off there"
        spread = f"errors: median {np.median(errors):.0%}, largest {errors.max():.0%}{against}"
        answer.append(f"  {name}: {factors} ({spread}, {len(lines)} runs)")
    return answer


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("records", type=Path, nargs="*", metavar="RECORD", help="lines of scale.py [all results/*.jsonl]")
    add("--rows", type=float, default=1e9, help="raw rows [1e9]")
    add("--workers", type=int, default=1, help="workers [1]")
    add("--cores", type=int, default=2, help="cores of each worker [2]")
    add("--rows-per-shard", type=float, default=DEFAULT_ROWS_PER_SHARD, help="raw rows per shard [1,000,000]")
    add("--mode", default="runner", help="how the runner ran [runner]")
    args = parser.parse_args()
    args.records = args.records or sorted((HERE / "results").glob("*.jsonl"))
    return args


def main() -> None:
    """Prints the answer for each pipeline."""
    args = arguments()
    found = by_pipeline(read_lines(args.records), args.mode)
    if not found:
        raise SystemExit(f"There are no lines of the mode {args.mode}: make some with scale.py")
    n_shards = max(1, round(args.rows / args.rows_per_shard))
    for pipeline, lines in found.items():
        cores = args.workers * args.cores
        first, *others = report(lines, Case(args.rows, n_shards, args.workers, cores, lines[0]["n_stages"]))
        print(f"{pipeline} of {args.rows:,.0f} rows in {n_shards:,} shards, {args.workers} workers: {first}")
        print(*others, sep="\n")


if __name__ == "__main__":
    main()
