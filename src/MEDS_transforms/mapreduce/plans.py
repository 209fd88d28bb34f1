"""What a stage is to do, before it does it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..work.claims import Unit
from ..work.expected import Expected
from ..work.outputs import StageOutputs
from .handover import Makers


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
    makes_rows: bool = True
    """Whether a unit makes rows of as many columns as it reads. Others take little memory, so the next shard begins
    while they are at work."""
    takes_frames: bool = True
    """Whether it can read what is in memory, or what is made as it is read, in place of files."""
    is_written: bool = True
    """Whether its outputs become files; else they are made in memory whenever they are read."""

    @property
    def steps(self) -> list[Unit]:
        """What is to be done for files: the units, and the reduction."""
        return [*self.units, *([self.reduction] if self.reduction else [])] if self.is_written else []

    def follows(self, plans: Sequence["Plan"]) -> bool:
        """Whether all shards that it reads are those that other plans are to make, and it takes them from memory."""
        if not self.takes_frames:
            return False
        made = {unit.claim_fp for plan in plans for unit in plan.units}
        return bool(self.units) and not self.outputs.asked.maker.is_whole and {u.source for u in self.units} <= made

    def expected(self) -> Expected:
        """Its outputs, for the plan of a stage that reads them."""
        return self.outputs.expected()
