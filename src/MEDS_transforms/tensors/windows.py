"""Which part of a subject's history an item has."""

from dataclasses import dataclass
from typing import Any

from ..errors import InputError

END, START, RANDOM = "end", "start", "random"
EVENTS, MEASUREMENTS = "events", "measurements"

_ALLOWED = {"unit": (MEASUREMENTS, EVENTS), "at": (END, START, RANDOM)}
_64_BITS = 2**64 - 1


@dataclass(frozen=True)
class Window:
    """A part of a history, or all of it.

    Args:
        size: how many measurements or events it has at most; None: all.
        unit: `measurements`, of which the first and the last may be within an event, or `events`.
        at: where it is: at the `end` of the history (the latest), at its `start`, or at a `random` place, where each
            is as likely as any other.
        seed: of the random places. The place depends on the seed, the epoch and the number of the item alone, not on
            the order in which items are read, or on the number of processes that read them.

    >>> Window(256).span(1000)
    (744, 1000)
    >>> Window(256, at="start").span(1000)
    (0, 256)
    """

    size: int | None = None
    unit: str = MEASUREMENTS
    at: str = END
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in _ALLOWED.items():
            if (value := getattr(self, name)) not in allowed:
                raise InputError(f"{name} of a window must be {' or '.join(allowed)}, not {value!r}.")
        if self.size is not None and not _is_positive(self.size):
            raise InputError(f"size of a window must be a positive number, or None for all, not {self.size!r}.")
        if not isinstance(self.seed, int):
            raise InputError(f"seed of a window must be a whole number, not {self.seed!r}.")

    def span(self, n: int, drawn: int = 0) -> tuple[int, int]:
        """Where it begins and ends among `n` measurements or events; `drawn` is a large random number."""
        if self.size is None or n <= self.size:
            return 0, n
        spare = n - self.size
        start = spare if self.at == END else 0 if self.at == START else drawn % (spare + 1)
        return start, start + self.size


def _is_positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def draw(*numbers: int) -> int:
    """A random number of 64 bits that depends on these numbers alone (SplitMix64).

    A generator of numpy's for each item would take longer than everything else.
    """
    state = 0
    for number in numbers:
        state = (state ^ number) + 0x9E3779B97F4A7C15 & _64_BITS
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _64_BITS
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _64_BITS
        state ^= state >> 31
    return state
