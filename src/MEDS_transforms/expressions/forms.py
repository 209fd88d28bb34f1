"""What all parts of the language have in common: parsed expressions, and errors that show what is allowed where."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import polars as pl
import polars.selectors as cs
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..dataset.columns import column, internal
from ..dataset.patterns import why_no_pattern
from ..errors import InputError

_TRUE, _FALSE = ["true", "t", "yes", "y", "1", "1.0"], ["false", "f", "no", "n", "0", "0.0"]


class Expression(NamedTuple):
    """A polars expression, and the columns that it reads: all, those that it reads as text, those in their own dtype.

    A column may be in both of the latter: `{from: "{a}", …}` beside a matcher of `a`.
    """

    expr: pl.Expr
    columns: frozenset[str] = frozenset()
    as_text: frozenset[str] = frozenset()
    as_value: frozenset[str] = frozenset()


class Formula(Protocol):
    """What an expression was made of, where that can tell why it fails."""

    @property
    def text(self) -> str:
        """How it is written."""

    def misfits(self, rows: pl.DataFrame) -> Iterator[str]:
        """Why it fails on rows."""


def as_written(name: str) -> str:
    """The name of the column with a column's values as they are written, where it is needed as a number too."""
    return internal(f"text {name}")


def text_of(name: str) -> pl.Expr:
    """A column's values as text; as they are written, where these are beside it (see `as_written`)."""
    written = cs.by_name(as_written(name), require_all=False).as_expr()
    return pl.coalesce(written, column(name).cast(pl.String))


def number_as_text(values: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Values as text; a whole number that is a float, as it is beside nulls, is its digits: `2020`, not `2020.0`."""
    if not dtype.is_float():
        return values.cast(pl.String)
    whole = values.cast(pl.Int64, strict=False)
    return pl.when(whole.cast(dtype) == values).then(whole.cast(pl.String)).otherwise(values.cast(pl.String))


def truth_of(text: pl.Expr) -> pl.Expr:
    """What words for true and false say, in any case; null for all others."""
    lower = text.str.to_lowercase()
    return pl.when(lower.is_in(_TRUE)).then(True).when(lower.is_in(_FALSE)).then(False)


def plain(cfg: Any) -> Any:
    """The value in plain containers; those of OmegaConf may also be nested in plain ones."""
    if OmegaConf.is_config(cfg):
        try:
            return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        except OmegaConfBaseException as error:
            raise InputError(f"Cannot resolve {cfg}: {error}") from error
    if isinstance(cfg, dict):
        return {key: plain(value) for key, value in cfg.items()}
    if isinstance(cfg, list | tuple):
        return [plain(value) for value in cfg]
    return cfg


def malformed(what: str, where: str, found: Any, allowed: str) -> ValueError:
    """The error for a value that is not allowed in its place."""
    place = f" at {where}" if where else ""
    return InputError(f"{what}{place}: found {found!r}; allowed: {allowed}")


def below(where: str, key: Any) -> str:
    """The place of a key or an index: `[1].output['{a} {b}']`."""
    if isinstance(key, str) and key.isidentifier():
        return f"{where}.{key}" if where else key
    return f"{where}[{key!r}]"


def checked_pattern(what: str, pattern: Any, where: str) -> str:
    """The pattern, after a check that polars can compile it."""
    if allowed := why_no_pattern(pattern):
        raise malformed(what, where, pattern, allowed)
    return str(pattern)
