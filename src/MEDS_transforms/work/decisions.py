"""What happens to existing outputs: they count, are rebuilt, or stop a worker that has other settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..errors import OutputsExistError, listed
from .claims import nothing
from .differences import differences, is_same_for
from .provenance import Kept, Maker, Record, Units, still_kept
from .runs import Generation, Noted

_SHOWN = 10
_SHOWN_OF_KEPT = 3
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
    is_same = running.made_by.is_same_as(asked.maker)
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
    accounts = running.accounts | {unit: noted.account for unit, noted in found.made.items() if noted.account}
    origins = still_kept(running.origins, running.kept, kept)
    sources = [noted.source for noted in found.made.values()]
    if (running.overwrites or not asked.overwrite) and is_same_for(running.made_by, asked.maker, sources):
        return Generation(asked.maker, running.overwrites, kept, origins, accounts, running.number + 1)
    if asked.overwrite:
        return Generation(asked.maker, overwrites=True, number=running.number + 1)
    if asked.keep:
        origins = _origins(asked.maker, origins, (kept, running.made_by), (found.unknown, None))
        return Generation(asked.maker, False, found.unknown | kept, origins, accounts, running.number + 1)
    raise OutputsExistError(
        "An interrupted run left outputs here that were made with other settings or inputs:\n"
        f"{_lines(running.made_by, asked.maker)}",
        remedy=_WAYS_ON,
    )


def _first_generation(asked: Asked, found: Found) -> Generation:
    record = found.record
    if asked.overwrite:
        return Generation(asked.maker, overwrites=True)
    if record and (asked.keep or record.made_by.is_same_as(asked.maker)):
        origins = _origins(asked.maker, record.kept, (record.outputs, record.made_by), (found.unknown, None))
        kept = found.unknown | record.outputs
        return Generation(asked.maker, kept=kept, origins=origins, accounts=record.accounts)
    if record:
        raise OutputsExistError(
            f"The existing outputs were made with other settings or inputs:\n{_lines(record.made_by, asked.maker)}",
            remedy=_WAYS_ON,
        )
    if found.unknown and not asked.keep:
        names = [name for files in found.unknown.values() for name in files]
        raise OutputsExistError(
            f"There are already outputs here with no record of what made them: {listed(names, 5)}", remedy=_WAYS_ON
        )
    return Generation(asked.maker, kept=found.unknown, origins=_origins(asked.maker, (), (found.unknown, None)))


def _origins(maker: Maker, known: Sequence[Kept], *found: tuple[Units, Maker | None]) -> tuple[Kept, ...]:
    """What made the outputs that a maker keeps, where it was another: what is `known`, else what they come with."""
    origins, told = [*known], {name for kept in known for name in kept.files}
    for units, made_by in found:
        names = {name for files in units.values() for name in files} - told
        origins.append(Kept(tuple(sorted(names)), made_by))
        told |= names
    return tuple(k for k in origins if k.files and (k.made_by is None or not k.made_by.is_same_as(maker)))


def what_is_kept(generation: Generation) -> str:
    """A line about the outputs that a run keeps though something else made them: how many, and what differs."""
    parts = []
    for kept in generation.origins:
        how = "with no record of what made them"
        if kept.made_by:
            how = (
                "made with other settings or inputs ("
                + "; ".join(_differences(kept.made_by, generation.made_by, _SHOWN_OF_KEPT))
                + ")"
            )
        parts.append(f"{len(kept.files)} output{'s' if len(kept.files) > 1 else ''} {how}")
    return "Kept: " + ", ".join(parts)


def _lines(old: Maker, new: Maker) -> str:
    return "\n".join(f"  - {line}" for line in _differences(old, new, _SHOWN))


def _differences(old: Maker, new: Maker, limit: int) -> list[str]:
    found = differences(old.as_json(), new.as_json())
    more = [f"and {len(found) - limit} more"] if len(found) > limit else []
    return [*found[:limit], *more]
