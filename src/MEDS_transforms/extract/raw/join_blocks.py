"""Reads what an event file says of the tables that are joined to a table."""

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

from ...errors import Problems, listed, nearest
from ...settings.names import wrong_names
from .aggregates import AGGREGATIONS, Column
from .joins import HOW, INNER, LEFT, Join

_KEYS = ("table", "on", "how", "columns")
_QUOTES = "is not text as it stands in the file; put it in quotes"


def read_join(cfg: Any, where: str, problems: Problems) -> list[Join]:
    """The joins of a block, one after the other; what is wrong with them is added to the problems.

    Args:
        cfg: a mapping, or a list of mappings, with the keys

            - table: the table to join.
            - on: a column or a list of columns; {left: right, …} where the names differ.
            - how: left (the default) or inner.
            - columns: a list of columns, or {name: column}, or {name: {aggregation: column}}. An inner join needs none.
        where: the place of the block.
        problems: collects what is wrong.
    """
    if isinstance(cfg, list) and cfg:
        joins = [_read(block, f"{where}[{i}]", problems) for i, block in enumerate(cfg)]
    else:
        joins = [_read(cfg, where, problems)]
    found = [join for join in joins if join is not None]
    for first, second in combinations(found, 2):
        for name in first.columns.keys() & second.columns.keys():
            what = f"{first.where} has a column of that name"
            problems.add(what, f"{second.where}.columns.{name}", "Rename one of them")
    return found


def _read(block: Any, where: str, problems: Problems) -> Join | None:
    if not isinstance(block, dict):
        problems.add(f"must be a mapping with the keys {', '.join(_KEYS)}, or a list of these, not {block!r}", where)
        return None
    # NOTE: in YAML 1.1, which is what is read, `on` without quotes is true.
    block = {"on" if key is True else key: value for key, value in block.items()}
    for key in block:
        if key not in _KEYS:
            what = f"there is no such key{nearest(str(key), _KEYS)}; there are: {', '.join(_KEYS)}"
            problems.add(what, f"{where}.{key}")
    left_on, right_on = _on(block.get("on"), f"{where}.on", problems)
    how = _how(block.get("how", LEFT), f"{where}.how", problems)
    taken = _columns(block.get("columns"), f"{where}.columns", how, problems)
    for name in taken:
        if name in left_on:
            what = "is the key, which is there already"
            problems.add(what, f"{where}.columns.{name}", "Leave it out, or rename it")
    return Join(_table(block.get("table"), f"{where}.table", problems), left_on, right_on, how, taken, where)


def _table(name: Any, where: str, problems: Problems) -> str:
    if name is None:
        problems.add("is missing: the table to join", where)
        return ""
    problems.found += [wrong.below(where) for wrong in wrong_names([name], "table")]
    return str(name)


def _how(how: Any, where: str, problems: Problems) -> str:
    if how in HOW:
        return str(how)
    problems.add(f"must be {' or '.join(HOW)}, not {how!r}{nearest(str(how), HOW)}", where)
    return LEFT


def _on(on: Any, where: str, problems: Problems) -> tuple[tuple[str, ...], tuple[str, ...]]:
    pairs = on if isinstance(on, dict) else {name: name for name in _hashable(on)}
    repeated = isinstance(on, list) and len(pairs) < len(on)
    if on is None:
        problems.add("is missing: the column, or columns, by which rows belong together", where)
    elif not pairs or repeated or not all(isinstance(name, str) and name for pair in pairs.items() for name in pair):
        problems.add(f"must be a column, a list of columns, each once, or {{left: right, …}}, not {on!r}", where)
    else:
        return tuple(pairs), tuple(pairs.values())
    return (), ()


def _hashable(on: Any) -> Iterable[str]:
    """The names in a list, or the one that it is."""
    return [name for name in (on if isinstance(on, list) else [on]) if isinstance(name, str)]


def _columns(cfg: Any, where: str, how: str, problems: Problems) -> dict[str, Column]:
    if cfg is None and how == INNER:
        return {}
    if cfg is None or not isinstance(cfg, list | dict) or not cfg:
        found = "is missing" if cfg is None else f"cannot be {cfg!r}"
        problems.add(f"{found}: a list of the columns to take, or a mapping {{name: column, …}}", where)
        return {}
    if isinstance(cfg, list):
        return _listed_columns(cfg, where, problems)
    for name in cfg:
        if not isinstance(name, str):
            problems.add(f"the name {name!r} {_QUOTES}", where)
    taken = {name: _column(value, f"{where}.{name}", problems) for name, value in cfg.items() if isinstance(name, str)}
    return {name: column for name, column in taken.items() if column is not None}


def _listed_columns(names: list[Any], where: str, problems: Problems) -> dict[str, Column]:
    for i, name in enumerate(names):
        if not isinstance(name, str):
            what = f"must be the name of a column, not {name!r}; to rename or aggregate, {_MAPPING}"
            problems.add(what, f"{where}[{i}]")
        elif name in names[:i]:
            problems.add(f"{name} is there twice", f"{where}[{i}]")
    return {name: Column(name) for name in names if isinstance(name, str)}


_MAPPING = "write all columns as a mapping {name: column, name: {aggregation: column}}"


def _column(cfg: Any, where: str, problems: Problems) -> Column | None:
    if isinstance(cfg, str) and cfg:
        return Column(cfg)
    if not isinstance(cfg, Mapping) or len(cfg) != 1:
        problems.add(f"must be a column, or {{aggregation: column}}, not {cfg!r}", where)
        return None
    [(aggregation, source)] = cfg.items()
    if aggregation not in AGGREGATIONS:
        near = nearest(str(aggregation), AGGREGATIONS)
        problems.add(f"there is no aggregation {aggregation!r}{near}; there are: {listed(AGGREGATIONS)}", where)
    elif not isinstance(source, str) or not source:
        problems.add(f"must be the name of a column, not {source!r}", f"{where}.{aggregation}")
    else:
        return Column(source, aggregation)
    return None
