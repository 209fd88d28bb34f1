"""What became of the rows of a unit of work, and sums of that over units.

An account is a nested mapping, as JSON has it, of

- numbers, which add up;
- lists of examples, of which the first few distinct ones stay;
- mappings of these.

Whoever adds up accounts in the same order gets the same text, whatever the number of workers that made them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

Account = dict[str, Any]

MOST_EXAMPLES = 3

ON_THE_WAY = "on_the_way"
"""What stages noted of rows that they did not write, by stage, in the account of the one that read these rows."""

_noted: ContextVar[Account | None] = ContextVar("noted", default=None)


def note(account: Mapping[str, Any]) -> None:
    """Adds to the account of the unit that is being made; nothing happens where none is.

    >>> with noting() as account:
    ...     note({"rows": 2})
    >>> account
    {'rows': 2}
    """
    noted = _noted.get()
    if noted is not None:
        _add(noted, account)


@contextmanager
def noting_on_the_way(stage: str) -> Iterator[None]:
    """What functions note meanwhile goes to the account of the unit that is being made, as that of another stage.

    >>> with noting() as account, noting_on_the_way("filter"):
    ...     note({"rows": {"dropped": 2}})
    >>> account
    {'on_the_way': {'filter': {'rows': {'dropped': 2}}}}
    """
    with noting() as account:
        yield
    if account:
        note({ON_THE_WAY: {stage: account}})


@contextmanager
def noting() -> Iterator[Account]:
    """Gives an account, to which functions that are called meanwhile add with `note`."""
    account: Account = {}
    token = _noted.set(account)
    try:
        yield account
    finally:
        _noted.reset(token)


def in_words(account: Mapping[str, Any]) -> Iterator[str]:
    """What an account says, in a line for each thing that is counted.

    >>> [*in_words({"values": {"read": 2000, "not_converted": 1}, "bounds": {"end": {"added": 3}}})]
    ['values: 2,000 read, 1 not converted', 'bounds, end: 3 added']
    """
    for name, counts in account.items():
        inner = {what: n for what, n in counts.items() if isinstance(n, Mapping)}
        if own := [f"{n:,} {what.replace('_', ' ')}" for what, n in counts.items() if isinstance(n, int)]:
            yield f"{name.replace('_', ' ')}: {', '.join(own)}"
        yield from (f"{name.replace('_', ' ')}, {line}" for line in in_words(inner))


def added_up(accounts: Iterable[Mapping[str, Any]]) -> Account:
    """The sum of accounts; examples come from the first of them.

    >>> added_up([{"rows": 2, "examples": ["x"]}, {"rows": 3, "examples": ["y", "x"]}])
    {'rows': 5, 'examples': ['x', 'y']}
    """
    total: Account = {}
    for account in accounts:
        _add(total, account)
    return total


def _add(total: Account, more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping):
            _add(total.setdefault(key, {}), value)
        elif isinstance(value, list):
            total[key] = some_examples([*total.get(key, ()), *value])
        else:
            total[key] = total.get(key, 0) + value


def some_examples(values: Iterable[Any]) -> list[Any]:
    """The first few distinct values."""
    return [*dict.fromkeys(values)][:MOST_EXAMPLES]


def in_order(units: Iterable[str]) -> list[str]:
    """The names of units, numbers in them by size, so that examples come from the earliest rows.

    >>> in_order(["labs/[10-20)", "labs/[0-10)", "labs/[9-10)"])
    ['labs/[0-10)', 'labs/[9-10)', 'labs/[10-20)']
    """
    return sorted(units, key=lambda name: [int(part) if part.isdecimal() else part for part in _parts(name)])


def _parts(name: str) -> list[str]:
    """Text and numbers by turns, text first; NOTE: those of ASCII alone, which `int` reads for sure."""
    return re.split(r"([0-9]+)", name)
