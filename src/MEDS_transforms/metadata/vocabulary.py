"""A vocabulary: which codes get a number, and which."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from ..dataset.code_metadata import to_smallest_unsigned
from ..dataset.columns import internal
from ..dataset.schema import CODE, CODE_N_OCCURRENCES, CODE_N_SUBJECTS, VOCAB_INDEX
from ..errors import InputError, listed, warn_of
from ..parser import matcher_to_expr
from ..settings.checks import checked_value
from ..settings.plain import plain
from ..work.accounts import Account
from .former_vocabulary import FORMER

logger = logging.getLogger(__name__)

_STAGE = "fit_vocabulary_indices"
_FREQUENCY = "frequency"
_MINIMA = {"min_occurrences": CODE_N_OCCURRENCES, "min_subjects": CODE_N_SUBJECTS}
"""The keys, and the column of the code metadata that each limits."""
_ROW, _LEFT_OUT = internal("row"), internal("left_out")

Matchers = Mapping[str, pl.Expr]
"""Whether a code is meant, by how that is written."""


@dataclass(frozen=True)
class Vocabulary:
    """What a stage's block says of its vocabulary; by default each code gets a number, in the order of text."""

    by_frequency: bool = False
    reserved_tokens: Sequence[str] = ()
    keep: Matchers | None = None
    drop: Matchers = field(default_factory=dict)
    minima: Mapping[str, int] = field(default_factory=dict)

    @property
    def needed(self) -> list[str]:
        """The columns of the code metadata that are needed beside the key."""
        counts = [CODE_N_OCCURRENCES] if self.by_frequency else []
        return [*dict.fromkeys([*counts, *(_MINIMA[key] for key in self.minima)])]

    def left_out(self) -> pl.Expr:
        """The first key because of which a code gets no number; null where it gets one."""
        rules = {"drop": _any_of(self.drop)}
        if self.keep is not None:
            rules["keep"] = ~_any_of(self.keep)
        rules |= {key: pl.col(_MINIMA[key]).fill_null(0) < limit for key, limit in self.minima.items()}
        return pl.coalesce(pl.when(rule).then(pl.lit(key)) for key, rule in rules.items())

    def in_order(self, codes: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
        """The codes in the order of their numbers."""
        if not self.by_frequency:
            return codes.sort(key, nulls_last=False)
        descending = [True, *(False for _ in key)]
        return codes.sort(pl.col(CODE_N_OCCURRENCES).fill_null(0), *key, descending=descending, nulls_last=False)


def _any_of(matchers: Matchers) -> pl.Expr:
    return pl.any_horizontal(pl.lit(False), *matchers.values())


def read_vocabulary(stage_cfg: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary that a stage's block describes.

    Raises:
        TypeError, ValueError: a key has another value than it may have.
    """
    block = plain(stage_cfg)
    keys = ("ordering_method", "reserved_tokens", "keep", "drop", *_MINIMA)
    values = {key: checked_value(_STAGE, block, key) for key in keys}
    tokens = values["reserved_tokens"] or []
    if repeated := {token for token in tokens if tokens.count(token) > 1}:
        raise InputError(f"reserved_tokens has {listed(repeated)} twice. Remove one of them.")
    return Vocabulary(
        by_frequency=values["ordering_method"] == _FREQUENCY,
        reserved_tokens=tokens,
        keep=None if values["keep"] is None else _read_matchers("keep", values["keep"]),
        drop=_read_matchers("drop", values["drop"] or []),
        minima={key: values[key] for key in _MINIMA if values[key] is not None},
    )


def _read_matchers(key: str, entries: Sequence[Any]) -> Matchers:
    matchers = {}
    for i, entry in enumerate(entries):
        try:
            matchers[str(entry)] = matcher_to_expr({CODE: entry})[0]
        except ValueError as error:
            raise InputError(f"{key}[{i}]: {error}") from None
    return matchers


def number_codes(
    codes: pl.DataFrame, modifiers: Sequence[str], vocabulary: Vocabulary, former: pl.DataFrame
) -> tuple[pl.DataFrame, Account]:
    """The code metadata with `code/vocab_index`, and how many codes have a number, and why others have none.

    Rows keep their order. After them come the codes that only the former vocabulary has, then the reserved tokens that
    it has not; nothing is known of either but the number. New numbers follow the largest former one: first those of
    tokens, then those of codes.

    Args:
        codes: the code metadata, a row per code and modifiers.
        modifiers: the columns that tell codes apart together with `code`.
        vocabulary: which codes get a number, and in which order.
        former: the codes of the vocabulary that is extended, and their numbers; no rows where there is none.
    """
    key = [CODE, *modifiers]
    _warn_of_strangers(codes, vocabulary)
    known = codes.join(former, on=key, how="left", nulls_equal=True, maintain_order="left")
    is_new = pl.col(FORMER).is_null()
    known = known.with_columns(pl.when(is_new).then(vocabulary.left_out()).alias(_LEFT_OUT))
    chosen = known.with_row_index(_ROW).filter(is_new & pl.col(_LEFT_OUT).is_null())
    absent = former.join(codes, on=key, how="anti", nulls_equal=True).sort(FORMER)
    tokens = pl.DataFrame({CODE: _new_tokens(codes, modifiers, vocabulary, former)}, schema={CODE: pl.String})
    rows = pl.concat([known, absent, tokens], how="diagonal")
    new = [*range(rows.height - tokens.height, rows.height), *vocabulary.in_order(chosen, key)[_ROW]]
    numbers = _with_new(rows[FORMER], new)
    figures = {
        "numbered": numbers.count(),
        "reserved": tokens.height,
        "new": chosen.height,
        "taken_over": former.height,
        "absent": absent.height,
        "left_out": {rule: (known[_LEFT_OUT] == rule).sum() for rule in ("drop", "keep", *_MINIMA)},
    }
    return rows.with_columns(numbers).drop(FORMER, _LEFT_OUT), figures


def _with_new(former: pl.Series, new: Sequence[int]) -> pl.Series:
    """The numbers of rows: the former ones, and for those that are new, in their order, what follows these."""
    numbers = former.fill_null(0).to_numpy().copy()
    numbers[new] = numbers.max(initial=0) + 1 + np.arange(len(new))
    found = to_smallest_unsigned(pl.Series(VOCAB_INDEX, numbers))
    return found.set(found == 0, None)


def _new_tokens(
    codes: pl.DataFrame, modifiers: Sequence[str], vocabulary: Vocabulary, former: pl.DataFrame
) -> list[str]:
    """The reserved tokens that the former vocabulary has not.

    Raises:
        InputError: one is a code of the data.
    """
    plain_codes = former.filter(pl.all_horizontal(pl.lit(True), *(pl.col(m).is_null() for m in modifiers)))
    new = [token for token in vocabulary.reserved_tokens if token not in plain_codes[CODE]]
    if taken := [token for token in new if token in codes[CODE]]:
        raise InputError(
            f"reserved_tokens: the code metadata has codes of these names: {listed(taken)}. Choose others."
        )
    return new


def _warn_of_strangers(codes: pl.DataFrame, vocabulary: Vocabulary) -> None:
    """Warns of entries that mean no code, and so may be misspelt."""
    for key, matchers in (("keep", vocabulary.keep or {}), ("drop", vocabulary.drop)):
        is_there = {entry: codes.select(is_meant.any()).item() for entry, is_meant in matchers.items()}
        if strangers := [entry for entry, found in is_there.items() if not found]:
            warn_of(logger, f"the code metadata has no such code: {listed(strangers)}", key)
