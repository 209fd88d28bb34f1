"""What happens to existing outputs: they count, are rebuilt, or stop a worker that has other settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..errors import OutputsExistError, listed
from .claims import nothing
from .provenance import Maker, Record, Units, differences, is_same_for
from .runs import Generation, Noted

_SHOWN = 10
_WAYS_ON = (
    "Either rerun with do_overwrite=True, which rebuilds them (later stages then need it too; the runner passes it to "
    "all), or with keep_existing=True, which keeps what is there and builds only what is missing."
)


@dataclass(frozen=True)
class Asked:
    """What a worker wants: outputs by this maker; those of another are rebuilt, or kept, or neither."""

    maker: Maker
    overwrite: bool = False
    keep: bool = False


@dataclass(frozen=True)
class Found:
    """What there is: the record of a finished stage, the run, its other live workers, outputs that nobody noted."""

    record: Record | None = None
    generation: Generation | None = None
    others: Callable[[], Sequence[str]] = nothing
    unknown: Units = field(default_factory=dict)
    """Whole outputs that nobody noted, by unit; of a unit perhaps not all."""
    made: Mapping[str, Noted] = field(default_factory=dict)
    """Outputs of the run, by unit."""


def decide(asked: Asked, found: Found) -> Generation:
    """The generation to make outputs in: the one in force, if this worker may join it, or the next.

    Raises:
        FileExistsError: outputs are there that something else made or makes; the message says what differs.
    """
    running = found.generation
    if running is None:
        return _first_generation(asked, found)
    is_same = running.made_by.digest == asked.maker.digest
    if is_same and (running.overwrites or not asked.overwrite):
        return running  # of workers that share the work, or interrupted
    if others := found.others():
        raise OutputsExistError(
            f"Another worker ({listed(others, 3)}) is already running there"
            + (f" with other settings:\n{_lines(running.made_by, asked.maker)}\n" if not is_same else ". ")
            + "Wait for it to finish, or stop it."
        )
    if not found.made and not running.kept:  # it failed before it made anything
        return replace(_first_generation(asked, found), number=running.number + 1)
    kept = running.kept | {unit: noted.files for unit, noted in found.made.items()}
    sources = [noted.source for noted in found.made.values()]
    if (running.overwrites or not asked.overwrite) and is_same_for(running.made_by, asked.maker, sources):
        return Generation(asked.maker, running.overwrites, kept, running.number + 1)
    if asked.overwrite:
        return Generation(asked.maker, overwrites=True, number=running.number + 1)
    if asked.keep:
        return Generation(asked.maker, kept=found.unknown | kept, number=running.number + 1)
    raise OutputsExistError(
        "An interrupted run left outputs here that were made with other settings or inputs:\n"
        f"{_lines(running.made_by, asked.maker)}\n"
        f"{_WAYS_ON}"
    )


def _first_generation(asked: Asked, found: Found) -> Generation:
    record = found.record
    if asked.overwrite:
        return Generation(asked.maker, overwrites=True)
    if record and (asked.keep or record.made_by.digest == asked.maker.digest):
        return Generation(asked.maker, kept=found.unknown | record.outputs)
    if record:
        raise OutputsExistError(
            "The existing outputs were made with other settings or inputs:\n"
            f"{_lines(record.made_by, asked.maker)}\n{_WAYS_ON}"
        )
    if found.unknown and not asked.keep:
        names = [name for files in found.unknown.values() for name in files]
        raise OutputsExistError(
            f"There are already outputs here with no record of what made them: {listed(names, 5)}.\n{_WAYS_ON}"
        )
    return Generation(asked.maker, kept=found.unknown)


def _lines(old: Maker, new: Maker) -> str:
    found = differences(old.as_json(), new.as_json())
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return "\n".join(f"  - {line}" for line in [*found[:_SHOWN], *more])
