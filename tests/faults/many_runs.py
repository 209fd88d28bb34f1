"""Runs all stages under random faults many times, each time with the next seed: `python tests/faults/many_runs.py`.

Prints a line per run, and at the end one line of JSON:

- runs, and how many processes were started, killed -9 (at work: while they held a claim) and paused in them;
- how many workers with other settings were started between, and refused;
- longest_wait_seconds: the longest time from a stage's last kill or pause to its end;
- failures: the seeds of the runs that failed. Their folders are kept, and the exit status is 1.

A run takes about 65 seconds of processor time: half a minute on two cores with nothing else to do;
a sixth of that with `--fused`.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a script: tests/ is where `helpers` is

from faults.harness import Reference
from faults.random_faults import N_WORKERS, Tally, run_all


def main() -> int:
    """Runs the seeds that the command line asks for."""
    args = arguments()
    if args.folder:
        args.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="faults_", dir=args.folder))
    reference, tally = Reference.make(folder / "reference"), Tally()
    seeds = range(args.seed, args.seed + args.runs)
    run = partial(
        run_all, reference, tally=tally, n_workers=args.workers, fused=args.fused or args.lean, lean=args.lean
    )
    failures = [seed for seed in seeds if not succeeds(run, folder / f"seed_{seed}", seed, tally)]
    if not failures:
        shutil.rmtree(folder)
    print(json.dumps(summary(args.runs, tally, failures)))
    return 1 if failures else 0


def arguments() -> argparse.Namespace:
    """What the command line says."""
    first, *_ = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(description=first)
    parser.add_argument("--runs", type=int, default=10, help="how many runs (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the seed of the first run (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=N_WORKERS, help="how many per stage (default: %(default)s)")
    parser.add_argument("--fused", action="store_true", help="each worker runs all stages of a pipeline")
    parser.add_argument("--lean", action="store_true", help="as --fused, and no intermediate data are kept")
    parser.add_argument("--folder", type=Path, help="where cohorts are made (default: the folder for temporary files)")
    return parser.parse_args()


def succeeds(run: Callable[..., None], folder: Path, seed: int, tally: Tally) -> bool:
    """Whether a run ends as without faults; says so. Its folder is kept if not."""
    folder.mkdir()
    started, killed, paused = time.monotonic(), tally.killed, tally.paused
    try:
        run(folder, seed)
        outcome = "ok"
    except AssertionError as error:
        outcome = f"FAILED, see {folder}\n{error}"
    harm = f"{tally.killed - killed} killed, {tally.paused - paused} paused"
    print(f"seed {seed}: {time.monotonic() - started:.1f} s, {harm}: {outcome}", flush=True)
    if outcome == "ok":
        shutil.rmtree(folder)
    return outcome == "ok"


def summary(runs: int, tally: Tally, failures: list[int]) -> dict[str, object]:
    """The last line."""
    counts = {name: getattr(tally, name) for name in ("started", "killed", "killed_at_work", "paused", "refused")}
    return {"runs": runs, **counts, "longest_wait_seconds": round(tally.longest_wait, 2), "failures": failures}


if __name__ == "__main__":
    sys.exit(main())
