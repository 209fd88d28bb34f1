r"""Measures both pipelines at several sizes, numbers of shards, of workers and of cores, one after the other.

    python benchmarks/scale.py --bin .venv/bin --scales 0.1 1 4 10 --shards 20 200 --workers 1 2

Scale 1 is 15 million rows. Each run is a line in `benchmarks/results/<name>.jsonl`, written as soon as it is measured;
runs that are there already are not repeated, so an interrupted call goes on where it stopped. Raw tables and cohorts
are deleted as soon as they are measured. cost_model.py makes a model of the lines.
"""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import extraction
import preprocessing
from contenders import HERE, MODES, RUNNER, runner_command
from describe import asked_script, compile_modules, machine, versions
from measure import CommandError, as_record, measured
from peers import read_tables

ROWS_AT_SCALE_1 = 15_200_000
SUBJECTS_AT_SCALE_1 = 50_000
DISK_BYTES_PER_ROW = 190
"""What raw tables (72), the dataset (9) and a pre-processing with the files of all stages (105) take."""
STAGES = {"extraction": len(extraction.SCRIPTS), "preprocessing": len(preprocessing.SCRIPTS)}


@dataclass(frozen=True)
class Setting:
    """What is varied."""

    scale: float
    n_shards: int
    workers: int
    cores: int
    mode: str

    @property
    def n_subjects_per_shard(self) -> int:
        """The size of shards that gives about this many."""
        return max(1, round(self.scale * SUBJECTS_AT_SCALE_1 / self.n_shards))


def pinned(command: list[str], cores: int) -> list[str]:
    """The command on some of this machine's cores."""
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    return ["/usr/bin/taskset", "--cpu-list", ",".join(map(str, chosen)), *command]


def commands(
    args: argparse.Namespace, raw: Path, setting: Setting, dataset: Path, tensors: Path
) -> dict[str, list[str]]:
    """The command of each pipeline."""
    told = argparse.Namespace(
        raw=raw,
        row_chunksize=args.row_chunksize,
        n_subjects_per_shard=setting.n_subjects_per_shard,
        override=args.override,
        cohort=dataset,
    )
    all_overrides = {
        "extraction": (extraction.PIPELINE, extraction.overrides(told, dataset)),
        "preprocessing": (preprocessing.PIPELINE, preprocessing.overrides(told, tensors)),
    }
    n_workers = None if setting.workers == 1 else setting.workers
    return {
        name: pinned(runner_command(args.bin, pipeline, [*overrides, *MODES[setting.mode]], n_workers), setting.cores)
        for name, (pipeline, overrides) in all_overrides.items()
    }


def run(args: argparse.Namespace, raw: Path, setting: Setting) -> Iterator[dict[str, object]]:
    """Measures both pipelines; of the extraction only the dataset stays for the pre-processing."""
    folder = args.work / "scale"
    shutil.rmtree(folder, ignore_errors=True)
    dataset, tensors = folder / "dataset", folder / "tensors"
    folder.mkdir(parents=True)
    rows = sum(json.loads((raw / "rows.json").read_text()).values())
    try:
        for name, command in commands(args, raw, setting, dataset, tensors).items():
            os.sync()
            figures = as_record(measured(command, args.work / f"scale-{name}.log", args.bin, args.limit * 60))
            result = dataset if name == "extraction" else tensors
            line = {"pipeline": name, **asdict(setting), "n_stages": STAGES[name], "rows": rows, **figures}
            line["files_mib"] = round(size_of(result) / 2**20, 1)
            line["n_measurements"] = asked_script(Path(sys.executable), HERE / "agreement.py", "count", str(result))
            line["n_data_files"] = sum(
                1 for path in (result / "data").rglob("*") if path.suffix in (".parquet", ".nrt")
            )
            keep_only(dataset, ("data", "metadata"))
            yield line
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def size_of(folder: Path) -> int:
    """The bytes in a folder; links to the same file count once."""
    found = {(s.st_ino, s.st_size) for s in (path.lstat() for path in folder.rglob("*") if path.is_file())}
    return sum(size for _, size in found)


def keep_only(folder: Path, names: tuple[str, ...]) -> None:
    """Removes other subfolders."""
    for path in folder.iterdir():
        if path.is_dir() and path.name not in names:
            shutil.rmtree(path)


def make_tables(args: argparse.Namespace, scale: float) -> Path:
    """Makes the raw tables of a scale in a new folder, and reads them once."""
    raw = args.work / f"scale-raw-{scale:g}"
    shutil.rmtree(raw, ignore_errors=True)
    script = [sys.executable, str(HERE / "synthetic_tables.py"), "--format", "csv", "--scale", str(scale)]
    subprocess.run([*script, "--output", str(raw)], check=True, stdout=subprocess.DEVNULL)
    read_tables(raw)
    return raw


def settings(args: argparse.Namespace) -> list[Setting]:
    """All combinations, the small ones first, without those that are measured already."""
    lines = args.record.read_text().splitlines() if args.record.exists() else []
    done = [tuple(json.loads(line)[key] for key in (*Setting.__dataclass_fields__, "pipeline")) for line in lines]
    product = itertools.product(sorted(args.scales), args.shards, args.workers, args.cores, [args.mode])
    return [s for s in (Setting(*values) for values in product) if (*asdict(s).values(), "preprocessing") not in done]


def check_disk(args: argparse.Namespace, wanted: list[Setting]) -> None:
    """Ends the program if the disk is too small for the largest size."""
    args.work.mkdir(parents=True, exist_ok=True)
    needed = max((s.scale for s in wanted), default=0) * ROWS_AT_SCALE_1 * DISK_BYTES_PER_ROW / 1e9
    free = shutil.disk_usage(args.work).free / 1e9
    if needed > free:
        raise SystemExit(
            f"The largest size needs about {needed:.1f} GB in {args.work}, where {free:.1f} GB are free. Nothing was "
            "run: make room, give another --work, or leave the size out of --scales."
        )


def measure(args: argparse.Namespace) -> None:
    """Measures all settings, one size after the other."""
    wanted = settings(args)
    check_disk(args, wanted)
    compile_modules(args.bin / "python")
    common = {"date": date.today().isoformat(), "machine": machine(), "versions": versions(args.bin / "python")}
    args.record.parent.mkdir(parents=True, exist_ok=True)
    for scale, group in itertools.groupby(wanted, lambda setting: setting.scale):
        raw = make_tables(args, scale)
        try:
            for setting in group:
                for line in run(args, raw, setting):
                    with args.record.open("a") as record:
                        record.write(json.dumps({**line, **common}) + "\n")
                    print(
                        f"{line['pipeline']:<14} {line['rows']:>12,} rows  {setting.n_shards:>4} shards  "
                        f"{setting.workers} workers  {setting.cores} cores  {line['wall_s']:>8.1f} s  "
                        f"CPU {line['cpu_s']:>8.1f} s  {line['peak_mib']:>6.0f} MiB",
                        flush=True,
                    )
        finally:
            shutil.rmtree(raw, ignore_errors=True)
    print(f"Written: {args.record}")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add, all_cores = parser.add_argument, len(os.sched_getaffinity(0))
    add("--bin", type=Path, required=True, help="folder with the installation's scripts")
    add("--scales", type=float, nargs="+", default=[0.1, 1, 4, 10], help="sizes; 1: 15 million rows [0.1 1 4 10]")
    add("--shards", type=int, nargs="+", default=[20, 200], help="numbers of shards, about [20 200]")
    add("--workers", type=int, nargs="+", default=[1, 2], help="numbers of workers, which share the cores [1 2]")
    add("--cores", type=int, nargs="+", default=[all_cores], help=f"numbers of cores; --cores 1 {all_cores} [all]")
    add("--mode", choices=MODES, default="runner", help="how the runner runs [runner]")
    add("--row-chunksize", type=int, default=1_000_000, help="rows [1,000,000]")
    add("--override", action="append", default=[], metavar="KEY=VALUE", help="more for every stage")
    add("--limit", type=float, default=240, help="minutes after which a command is stopped [240]")
    add("--work", type=Path, default=HERE / "data/runs", help="for tables, cohorts and logs [data/runs]")
    add("--results", type=Path, default=HERE / "results", help="for the record [results]")
    add("--name", default=f"{date.today().isoformat()}-scale", help="of the record [<date>-scale]")
    args = parser.parse_args()
    # Not resolved: the link `python` of a virtual environment must stay what it is.
    args.bin, args.work = args.bin.absolute(), args.work.absolute()
    args.record = args.results / f"{args.name}.jsonl"
    if not (args.bin / RUNNER).is_file():
        parser.error(f"{args.bin} has no {RUNNER}")
    return args


if __name__ == "__main__":
    try:
        measure(arguments())
    except CommandError as error:
        raise SystemExit(str(error)) from None
