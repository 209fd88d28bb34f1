"""What a stage is to do, before it does it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from ..work.accounts import Account, added_up
from ..work.claims import Unit
from ..work.expected import Expected
from ..work.outputs import StageOutputs
from .handover import Makers


@dataclass(frozen=True)
class Others:
    """What a stage does with the columns of its input beyond those of every MEDS file and the code modifiers.

    >>> Others.PASSED_ON.but_needs("unit", None)
    Others(needed=frozenset({'unit'}), are_passed_on=True)
    """

    needed: frozenset[str] | None
    """Those that it looks at; None: any."""
    are_passed_on: bool
    """Whether they are in its output as they are in its input, but for rows that it adds, drops or moves."""

    NEEDED: ClassVar[Self]
    """It may look at any, and pass them on."""
    PASSED_ON: ClassVar[Self]
    """It looks at none, and passes them on."""
    DROPPED: ClassVar[Self]
    """Its output does not depend on them."""

    def but_needs(self, *names: str | None) -> Self:
        """The same of a stage that looks at the columns of these names, where they are not null."""
        return replace(self, needed=frozenset(name for name in names if name is not None))


Others.NEEDED = Others(None, are_passed_on=True)
Others.PASSED_ON = Others(frozenset(), are_passed_on=True)
Others.DROPPED = Others(frozenset(), are_passed_on=False)

OthersOf = Others | Callable[[Mapping[str, Any]], Others]
"""What a stage does with these columns, whatever its settings; or a function that tells it by them."""


def others_by(others: OthersOf, stage_cfg: Mapping[str, Any]) -> Others:
    """What a stage of these settings does with the columns that not every MEDS file has."""
    return others if isinstance(others, Others) else others(stage_cfg)


class Instead(Protocol):
    """What stages read in place of the files in a folder, where these are no shards and are not kept."""

    def prepare(self, wait: bool = True) -> Account | None:
        """Makes it, if that is not done, and gives what is to be told of it.

        None where another worker is at it, and this one is not to wait.
        """


@dataclass(frozen=True)
class Plan:
    """What a stage is to do: its units of work, and what it merges their outputs into, if it does."""

    outputs: StageOutputs
    units: Sequence[Unit]
    reduction: Unit | None = None
    merges: bool = True
    """Whether this worker is the one that merges."""
    frames: Makers = field(default_factory=dict)
    """What makes the rows of outputs in memory, where that is all there is to them."""
    whole_frames: Makers = field(default_factory=dict)
    """The same with all columns, where `frames` give only those that are needed."""
    passes_on: bool = False
    """Whether its outputs may have columns of its input that not every MEDS file has."""
    makes_rows: bool = True
    """Whether a unit makes rows of as many columns as it reads. Others take little memory, so the next shard begins
    while they are at work."""
    takes_frames: bool = True
    """Whether it can read what is in memory, or what is made as it is read, in place of files."""
    instead: Mapping[Path, Instead] = field(default_factory=dict)
    """What stages of this package may read in place of its outputs, by the folder where these are."""
    read: Path | None = None
    """One of the files that it reads, where the sources of its units do not tell."""
    clear_away: Callable[[], object] | None = None
    """Removes what its units share, and nobody else needs."""
    is_written: bool = True
    """Whether its outputs become files; else they are made in memory whenever they are read."""

    @property
    def steps(self) -> list[Unit]:
        """What is to be done for files: the units, and the reduction."""
        return [*self.units, *([self.reduction] if self.reduction else [])] if self.is_written else []

    @property
    def origin(self) -> object:
        """One of the files that it reads: all of them are of one stage."""
        return self.read or (self.units[0].source if self.units else None)

    def follows(self, plans: Sequence["Plan"]) -> bool:
        """Whether all shards that it reads are those that other plans are to make, and it takes them from memory."""
        if not self.takes_frames:
            return False
        made = {unit.claim_fp for plan in plans for unit in plan.units}
        return bool(self.units) and not self.outputs.asked.maker.is_whole and {u.source for u in self.units} <= made

    def expected(self) -> Expected:
        """Its outputs, for the plan of a stage that reads them."""
        return replace(self.outputs.expected(), instead={} if self.is_written else self.instead)

    def prepare(self) -> Account:
        """Makes what is read in place of its outputs; workers share that. Gives what is to be told of it."""
        for one in self.instead.values():
            one.prepare(wait=False)
        return added_up(one.prepare() or {} for _, one in sorted(self.instead.items()))


def with_columns_for_files(plans: Sequence[Plan], unwritten: Sequence[Plan]) -> tuple[list[Plan], list[Plan]]:
    """The plans of a pass, and those of earlier stages that are not written, with all columns that go to files.

    Frames have just the columns that are needed where all is as it was planned. Where files of a stage are there though
    they are not kept, and so are overwritten, the frames that its rows come from have all columns.
    """
    makers: dict[object, Plan] = {
        path: plan for plan in [*unwritten, *plans] if not plan.is_written for path in plan.frames
    }
    whole: set[str] = set()
    for plan in plans:
        reader: Plan | None = plan if plan.is_written else None
        while reader and reader.passes_on:
            reader = makers.get(reader.origin)
            whole |= {reader.outputs.stage} if reader else set()

    def widened(plan: Plan) -> Plan:
        return replace(plan, frames=plan.whole_frames or plan.frames) if plan.outputs.stage in whole else plan

    return [*map(widened, plans)], [*map(widened, unwritten)]
