"""Column expressions: a value for every row."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import polars as pl
import polars.selectors as cs

from ..dataset.columns import column as as_column
from ..dataset.patterns import first_paragraph
from ..errors import listed, nearest
from .forms import Expression, as_written, below, checked_pattern, malformed, text_of
from .matchers import matcher

_WHAT = "Column expression"
_COLUMN_IN_TEXT = re.compile(r"\{([^{}]+)\}")

Kind = Callable[[Any, str], Expression]


def expression(cfg: Any, where: str) -> Expression:
    """The expression of a configuration at a place in a larger one."""
    if isinstance(cfg, str):
        return template(cfg) if _COLUMN_IN_TEXT.search(cfg) else whole_column(cfg)
    if isinstance(cfg, list):
        return _first_not_null(cfg, where, expression)
    if isinstance(cfg, dict):
        return _mapping(cfg, where)
    raise malformed(_WHAT, where, cfg, "text, a list, or a mapping")


def text(cfg: Any, where: str) -> Expression:
    """As `expression`, but its values are wanted as text: columns are read as they are written."""
    if isinstance(cfg, str) and not _COLUMN_IN_TEXT.search(cfg):
        return text_column(cfg)
    if isinstance(cfg, dict) and cfg.keys() == {"col"} and isinstance(cfg["col"], str):
        return text_column(cfg["col"])
    if isinstance(cfg, list):
        return _first_not_null(cfg, where, text)
    found = expression(cfg, where)
    return found._replace(expr=found.expr.cast(pl.String))


def texts(cfg: Any, where: str) -> Expression:
    """As `expression`, but columns that are named alone are text, as they are written; those of lists stay lists."""
    if isinstance(cfg, list):
        return _first_not_null(cfg, where, texts)
    name = cfg["col"] if isinstance(cfg, dict) and cfg.keys() == {"col"} else cfg
    if not isinstance(name, str) or (name is cfg and _COLUMN_IN_TEXT.search(name)):
        return expression(cfg, where)
    lists = cs.by_name(name) & (cs.list() | cs.array())
    written, others = cs.by_name(as_written(name), require_all=False), cs.by_name(name) - lists
    values = pl.coalesce(written.as_expr(), others.as_expr().cast(pl.String), lists.as_expr())
    return Expression(values, frozenset([name]), frozenset([name]))


def whole_column(name: str) -> Expression:
    """A column as it is."""
    return Expression(as_column(name), frozenset([name]), as_value=frozenset([name]))


def text_column(name: str) -> Expression:
    """A column as text; see `text_of`."""
    return Expression(text_of(name), frozenset([name]), frozenset([name]))


def combined(parts: Iterable[Expression], how: Callable[..., pl.Expr]) -> Expression:
    """One expression of several."""
    exprs, *columns = zip(*parts, strict=True)
    return Expression(how(*exprs), *(frozenset().union(*of_each) for of_each in columns))


def template(cfg: str) -> Expression:
    """Text with `{column}`s in it. The pieces alternate: text, column, text, …, text."""
    first, *pieces = _COLUMN_IN_TEXT.split(cfg)
    parts = [Expression(pl.lit(first))]
    for name, following in zip(pieces[0::2], pieces[1::2], strict=True):
        parts += [text_column(name), Expression(pl.lit(following))]
    return combined(parts, lambda *texts: pl.concat_str(texts)) if pieces else parts[0]


def _first_not_null(cfg: list[Any], where: str, element: Kind) -> Expression:
    if not cfg:
        raise malformed(_WHAT, where, cfg, "a list of at least one text or mapping")
    for i, part in enumerate(cfg):
        if not isinstance(part, str | dict):
            raise malformed(_WHAT, below(where, i), part, f"text or a mapping; the list is {cfg!r}")
    return combined((element(part, below(where, i)) for i, part in enumerate(cfg)), pl.coalesce)


def _mapping(cfg: dict[Any, Any], where: str) -> Expression:
    if not cfg.keys().isdisjoint(_CONDITIONAL_KEYS):
        return _conditional(cfg, where)
    if len(cfg) != 1:
        raise malformed(_WHAT, where, cfg, f"{_mappings()}; this has {len(cfg)} keys")
    [(kind, value)] = cfg.items()
    if not isinstance(kind, str):
        raise malformed(_WHAT, where, cfg, f"{_mappings()}; the key {kind!r} is not text")
    if kind in KINDS:
        return KINDS[kind](value, below(where, kind))
    if isinstance(value, dict):
        return _where_matching(expression(kind, where), matcher(value, below(where, kind)))
    why = f"{kind!r} is not one of these keys{nearest(kind, KINDS)}, and {value!r} is not a matcher"
    raise malformed(_WHAT, where, cfg, f"{_mappings()}; {why}")


def _conditional(cfg: dict[Any, Any], where: str) -> Expression:
    if cfg.keys() != _CONDITIONAL_KEYS:
        raise malformed(_WHAT, where, cfg, "`output` and `matcher` together, without other keys")
    output = expression(cfg["output"], below(where, "output"))
    return _where_matching(output, matcher(cfg["matcher"], below(where, "matcher")))


def _where_matching(output: Expression, where: Expression) -> Expression:
    return combined([where, output], lambda mask, value: pl.when(mask).then(value))


def keys_of(spec: Any, where: str, needed: Mapping[str, str], others: Mapping[str, str]) -> dict[str, Any]:
    """A block of keys, after a check that it has those that are needed and none that is not known.

    `needed` and `others` say what their keys are.
    """
    known = {**needed, **others}
    allowed = "a mapping with " + ", ".join(f"`{key}` ({what})" for key, what in needed.items())
    if others:
        allowed += " and, if wanted, " + ", ".join(f"`{key}` ({what})" for key, what in others.items())
    if not isinstance(spec, dict):
        raise malformed(_WHAT, where, spec, allowed)
    if unknown := [key for key in spec if key not in known]:
        raise malformed(_WHAT, where, spec, f"{allowed}; unknown: {listed(unknown)}{nearest(str(unknown[0]), known)}")
    if missing := needed.keys() - spec.keys():
        raise malformed(_WHAT, where, spec, f"{allowed}; missing: {listed(missing)}")
    return spec


def _col(name: Any, where: str) -> Expression:
    if not isinstance(name, str):
        raise malformed(_WHAT, where, name, "the name of a column")
    return whole_column(name)


def _str(cfg: Any, where: str) -> Expression:
    if not isinstance(cfg, str):
        raise malformed(_WHAT, where, cfg, "text, with {column} for the value of a column")
    return template(cfg)


def _literal(value: Any, where: str) -> Expression:
    try:
        return Expression(pl.lit(value))
    except (TypeError, pl.exceptions.PolarsError) as error:
        allowed = "a value, or a list of values of one type"
        raise malformed(_WHAT, where, value, f"{allowed} ({first_paragraph(error)})") from error


def text_source(cfg: Any, where: str) -> Expression:
    """What text is taken from: the name of a column, braces and all, or an expression."""
    return text_column(cfg) if isinstance(cfg, str) else text(cfg, where)


def _extract(spec: Any, where: str) -> Expression:
    spec = keys_of(spec, where, {"from": "a column or expression", "regex": "a pattern"}, {"group_index": "default 1"})
    source = text_source(spec["from"], below(where, "from"))
    pattern = checked_pattern(_WHAT, spec["regex"], below(where, "regex"))
    group = _group_index(spec.get("group_index", 1), pattern, below(where, "group_index"))
    return source._replace(expr=source.expr.str.extract(pattern, group))


def _group_index(index: Any, pattern: str, where: str) -> int:
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise malformed(_WHAT, where, index, "a non-negative integer")
    # NOTE: for a group that the pattern does not have, polars returns nulls instead of an error.
    groups = len(pl.Series([""]).str.extract_groups(pattern).struct.fields)
    if index > groups:
        allowed = f"0 (the whole match) to {groups}, as {pattern!r} has {groups} capture groups, written (…)"
        raise malformed(_WHAT, where, index, allowed)
    return index


_CONDITIONAL_KEYS = {"output", "matcher"}
KINDS: dict[str, Kind] = {"col": _col, "str": _str, "literal": _literal, "extract": _extract}
"""The keys of mappings, each with what makes an expression of its value."""


def _mappings() -> str:
    return f"one key of {', '.join(KINDS)}; `output` and `matcher`; or {{column or text: matcher}}"
