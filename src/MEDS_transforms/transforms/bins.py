"""Bins of numbers: the edges of each code, the bin of each value, and what the code with its bin is called."""

from collections.abc import Sequence
from string import Formatter

import numpy as np
import numpy.typing as npt
import polars as pl

from ..dataset.columns import internal
from ..errors import InputError, nearest

CODE_FIELD, LEFT, RIGHT, BIN = "code", "left", "right", "bin"
_FIRST_NEGATIVE, _ALL = np.uint32(0x80000000), np.uint32(0xFFFFFFFF)


class Bins:
    """The bins of several codes, by the numbers of these; a code with n edges has n + 1 bins, from -inf to inf.

    A value is in the bin that begins with the last edge that is not greater. All bins have numbers of their own, those
    of a code next to each other.

    Args:
        edges: for each code its edges, ascending: lists of Float32, none of them empty.
    """

    def __init__(self, edges: pl.Series) -> None:
        counts = edges.list.len().to_numpy().astype(np.int64)
        flat = edges.explode().to_numpy()
        self._keys = _keys(np.repeat(np.arange(len(counts), dtype=np.uint64), counts), flat)
        self.left, self.right, self.number = _ends(flat, counts)

    def bins_of(self, codes: pl.Series, values: pl.Series) -> pl.Series:
        """The bins of values, by the numbers of their codes; null where either is null, or the value NaN.

        NOTE: all values are looked up at once, in the edges of all codes, by integers in whose order codes come first.
        """
        value = values.cast(pl.Float32)
        is_in = codes.is_not_null() & value.is_not_null() & value.is_not_nan()
        code = codes.filter(is_in).to_numpy()
        n_edges = np.searchsorted(self._keys, _keys(code, value.filter(is_in).to_numpy()), side="right")
        found = np.zeros(codes.len(), np.uint32)
        found[is_in.to_numpy()] = n_edges + code  # since each code before has one bin more than it has edges
        return pl.Series(values.name, found).set(~is_in, None)

    def names(self, template: str) -> list[pl.Series | None]:
        """For each bin the texts of a template between which the code stands; None where the code does.

        Numbers are written as polars writes Float32: `0.1`, `1e-7`, `inf`.
        """
        texts = {LEFT: self.left.cast(pl.String), RIGHT: self.right.cast(pl.String), BIN: self.number.cast(pl.String)}
        bins, names, part = pl.DataFrame(texts), list[pl.Series | None](), list[pl.Expr]()
        for text, field in fields_of(template):
            part += [pl.lit(text)] if text else []
            part += [pl.col(field)] if field in texts else []
            if field == CODE_FIELD:
                names += [*([_joined(bins, part)] if part else []), None]
                part = []
        return [*names, _joined(bins, part)] if part else names


def _joined(bins: pl.DataFrame, parts: Sequence[pl.Expr]) -> pl.Series:
    """The text of each bin."""
    return bins.with_columns(pl.concat_str(parts).alias(internal("text"))).get_column(internal("text"))


def _keys(codes: npt.NDArray[np.uint64], values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint64]:
    """Integers in the order of codes, then values."""
    bits = (values.astype(np.float32) + np.float32(0)).view(np.uint32)  # which makes 0 of -0
    ordered = np.where(bits >= _FIRST_NEGATIVE, bits ^ _ALL, bits | _FIRST_NEGATIVE)
    return (codes.astype(np.uint64) << np.uint64(32)) | ordered


def _ends(edges: npt.NDArray[np.float32], counts: npt.NDArray[np.int64]) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Of all bins of all codes: the left edges, the right edges, and the numbers within the code."""
    firsts = np.cumsum(counts) - counts
    left, right = np.insert(edges, firsts, -np.inf), np.insert(edges, firsts + counts, np.inf)
    number = np.arange(len(left)) - np.repeat(firsts + np.arange(len(counts)), counts + 1)
    return pl.Series(left, dtype=pl.Float32), pl.Series(right, dtype=pl.Float32), pl.Series(number)


def fields_of(template: str, allowed: Sequence[str] = (CODE_FIELD, LEFT, RIGHT, BIN)) -> list[tuple[str, str | None]]:
    """The texts of a template, each with the field after it.

    Raises:
        InputError: a brace is alone, or a field is none of those that are allowed.

    >>> fields_of("{code}//{bin}")
    [('', 'code'), ('//', 'bin')]
    """
    shown = ", ".join(f"{{{name}}}" for name in allowed)
    try:
        parts = [*Formatter().parse(template)]
    except ValueError as error:
        raise InputError(f"{template!r}: {error}", remedy=f"It may have {shown}; write other braces twice.") from None
    for _, field, form, conversion in parts:
        if field is not None and (field not in allowed or form or conversion):
            wrong = f"{{{field}}}{nearest(field, allowed)}" if field not in allowed else f"form of {{{field}}}"
            raise InputError(f"{template!r}: there is no {wrong}", remedy=f"It may have {shown}.")
    return [(text, field) for text, field, _, _ in parts]
