"""All pipelines, one stage after the other, whose workers are killed, paused and replaced at random moments."""

import json
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from MEDS_transforms.work.environment import JOURNAL, RESUMING

from .cohorts import PIPELINES, Elsewhere, command, command_of_all
from .harness import LOG_FILES, Reference, Workers, assert_success, at_random_moment, holds_claim

N_WORKERS = 3

LONGEST_WAIT = 10.0
"""Seconds that a stage may take longer, on account of dead workers, than the machine needs for its work."""

SLOWNESS = 10
"""How many times slower than the undisturbed worker the machine may be, with several workers and other work."""


@dataclass
class Tally:
    """What happened to the workers of all runs."""

    started: int = 0
    killed: int = 0
    paused: int = 0
    killed_at_work: int = 0
    """How many of the killed held a claim just before (Linux)."""
    refused: int = 0
    """How many workers with other settings were started between the others, and refused."""
    longest_wait: float = 0.0
    """Seconds from a stage's last kill or pause, when only live workers were left, to its end."""


def run_all(
    reference: Reference,
    folder: Path,
    seed: int,
    tally: Tally,
    n_workers: int = N_WORKERS,
    fused: bool = False,
    lean: bool = False,
) -> None:
    """Runs every stage, with so many workers at first, under random faults.

    `fused`: every worker runs all stages of a pipeline, as the runner has it; `lean`: and keeps no intermediate data.

    Fails, and names the seed and the stage, unless all is as without faults.
    """
    rng = random.Random(f"whole pipeline {seed}")
    for number, pipeline in enumerate(PIPELINES):
        # What the disturbed extraction made is what the others read.
        x = reference.elsewhere(folder / f"cohort_{number}", folder / "cohort_0")
        more = ["keep_intermediates=false"] if lean else []
        for stages in [pipeline.stages] if fused else [[stage] for stage in pipeline.stages]:
            start = partial(command_of_all, x, pipeline, *more) if fused else partial(command, x, stages[0])
            try:
                Disturbed(reference, x, stages, start, folder, rng, tally).run(n_workers)
                reference.check(x.cohort, stages[-1], only_results=lean)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, {' to '.join({stages[0]: 1, stages[-1]: 1})}: {error}") from error


class Disturbed:
    """A stage, or several that share workers, whose workers come to harm.

    They look again after at most `polling_time` seconds, which is long: none is to wait so long for a dead one.
    """

    def __init__(
        self,
        reference: Reference,
        x: Elsewhere,
        stages: Sequence[str],
        command: Callable[..., list[str]],
        folder: Path,
        rng: random.Random,
        tally: Tally,
    ) -> None:
        self.x, self.stages, self.command, self.rng, self.tally = x, stages, command, rng, tally
        self.group = Workers(folder)
        notes = str(folder / f"notes_{stages[0]}")
        self.env = {RESUMING: "1", JOURNAL: notes} if len(stages) > 1 else {}  # as the runner has it
        self.numbers: list[int] = []
        self.killed: list[int] = []
        self.watched = [x.cohort / name for stage in stages for name in reference.folders(stage)]
        self.n_files = sum(reference.n_files(stage) for stage in stages)
        self.limit = LONGEST_WAIT + SLOWNESS * sum(reference.seconds[stage] for stage in stages)
        self.folder = folder

    def run(self, n_workers: int) -> None:
        """Disturbs the workers of the stage and brings it to its end; no worker outlives this."""
        try:
            for number in range(n_workers):
                self.start(number)
            self.disturb()
            for _ in range(3 if len(self.stages) > 1 else self.rng.random() < 0.3):
                if len(self.stages) > 1 and not self.group.alive:
                    self.start(0)
                self.disturb()
            if self.rng.random() < 0.5:
                self.change_settings()
            self.finish()
            self.change_settings()
        finally:
            self.group.end()
            self.tally.killed += len(self.killed)

    def start(self, number: int) -> None:
        """Starts a worker."""
        self.group.start(self.command(f"worker={number}", "polling_time=300"), **self.env)
        self.numbers.append(number)
        self.tally.started += 1

    def disturb(self) -> None:
        """At a random moment, mostly while they work, seldom while they start, something happens to some workers."""
        logs = self.rng.random() < 0.2
        share = 3 if len(self.stages) > 1 else 1  # so that others come to harm in later stages
        n_files = max(1, self.n_files // share) + (len(self.numbers) * LOG_FILES if logs else 0)
        at_random_moment(self.group, n_files, self.rng, *self.watched, logs=logs)
        live = [which for which, process in enumerate(self.group.processes) if process.poll() is None]
        self.rng.shuffle(live)
        happens = self.rng.choices(["kill", "kill all", "pause", "kill during a pause"], [5, 1, 2, 2])[0]
        if "pause" in happens and live:
            self.pause(live.pop(), live[:1] if "kill" in happens else [])
        elif "kill" in happens:
            self.kill(live if "all" in happens else live[: self.rng.choice([1, 1, 2])])

    def change_settings(self) -> None:
        """Starts a worker with other settings; it refuses, as soon as anything was made with those of the others."""
        if not any(self.has_made_something(folder) for folder in self.x.cohort.rglob(".provenance")):
            return
        other = Workers(self.folder)
        other.start(self.command("worker=0", "++code_modifiers=[]"))
        assert other.wait() == [1], other.text()
        assert "settings.code_modifiers: (none) -> []" in other.text(), other.text()
        self.tally.refused += 1

    def has_made_something(self, folder: Path) -> bool:
        """Whether workers of the first stage have left a record in a folder of such, or noted outputs that are there.

        NOTE: outputs are noted before they get their names; of a worker that was killed between, they do not count.
        """
        first = self.stages[0]
        for path in [*(folder / f"{first}.run").glob("*.jsonl")]:
            with suppress(FileNotFoundError):  # the run has ended meanwhile, and left a record
                noted = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("]")]
                if any(all((folder.parent / name).is_file() for name in files) for _, files, *_ in noted):
                    return True
        return (folder / f"{first}.record").is_file()

    def kill(self, which: list[int]) -> None:
        """Kills -9 some workers; sometimes another takes the place of one of them at once."""
        if not which:
            return
        at_work = [holds_claim(self.group.processes[one].pid) for one in which]
        self.group.send(signal.SIGKILL, *which)
        statuses = self.group.wait(*which)
        killed = [status == -signal.SIGKILL for status in statuses]
        self.killed += [one for one, was in zip(which, killed, strict=True) if was]
        self.tally.killed_at_work += sum(was and did for was, did in zip(killed, at_work, strict=True))
        if self.rng.random() < 0.25:
            self.start(self.numbers[which[0]])

    def pause(self, one: int, others: list[int]) -> None:
        """Stops a worker for a moment, in which others may be killed."""
        self.group.send(signal.SIGSTOP, one)
        self.tally.paused += self.group.processes[one].poll() is None
        time.sleep(self.rng.choice([0.01, 0.1, 0.3]))
        self.kill(others)
        self.group.send(signal.SIGCONT, one)

    def finish(self) -> None:
        """Waits for the live workers, and for one more, started beside or after them, if any was killed."""
        since = time.monotonic()
        live = {number for which, number in enumerate(self.numbers) if which not in self.killed}
        beside = self.rng.random() < 0.5
        if not beside:
            self.succeed()
        if self.killed:
            self.start(0 if 0 not in live else self.numbers[self.killed[0]])
        self.succeed()
        wait = time.monotonic() - since
        self.tally.longest_wait = max(self.tally.longest_wait, wait)
        assert wait < self.limit, f"took {wait:.1f} s after the last kill: {self.group.text()}"

    def succeed(self) -> None:
        """Fails unless every worker that was not killed ends well."""
        if survivors := [which for which in range(len(self.numbers)) if which not in self.killed]:
            assert_success(self.group, self.stages[-1], *survivors)
