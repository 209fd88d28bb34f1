"""What of a dataset's measurements decides how its subjects are divided: their strata and their groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ..dataset.columns import internal
from ..dataset.dtypes import is_text
from ..dataset.io import scan_parquet
from ..dataset.measurements import checked
from ..dataset.schema import CODE, NUMERIC_VALUE, SUBJECT_ID, TIME
from ..errors import InputError, MissingColumnError, Problems, counted, listed, nearest
from ..expressions.forms import number_as_text
from ..parser import Parsed, cfg_to_expr, matcher_to_expr
from ..settings.plain import plain

GROUP, STRATUM = internal("group"), internal("stratum")
_LAST_GROUP = internal("last_group")


@dataclass(frozen=True)
class Traits:
    """The matchers of strata, by what they are called, and the expression of the group (None: there are no groups)."""

    matchers: Mapping[str, Parsed]
    group: Parsed | None

    @classmethod
    def of(cls, stage_cfg: Mapping[str, Any]) -> "Traits":
        """The traits that a stage's block names.

        Raises:
            ValueError: a matcher or the expression cannot be used.
        """
        given, problems = plain(stage_cfg.get("stratify_by")), Problems("The strata and groups cannot be used")
        matchers, group = dict[str, Parsed](), plain(stage_cfg.get("group_by"))
        for number, one in enumerate(given if isinstance(given, list) else [given] if given is not None else []):
            try:
                matchers[_label(one)] = matcher_to_expr({CODE: one} if isinstance(one, str) else one)
            except InputError as error:
                problems.add(str(error), f"stratify_by[{number}]")
        try:
            parsed = None if group is None else cfg_to_expr(group)
        except InputError as error:
            problems.add(str(error), "group_by")
        problems.raise_if_any()
        return cls(matchers, parsed)

    def read(self, paths: Sequence[Path]) -> pl.DataFrame:
        """The subjects of shards, sorted, each once: subject_id (Int64), its stratum and its group (String).

        The group is null where a subject has none, or there are none.

        Raises:
            KeyError: a shard lacks a column.
            ValueError: a column has another dtype than it must; or subjects are in several groups.
        """
        masks = [pl.col(_mask(number)).any() for number in range(len(self.matchers))]
        groups = [pl.col(GROUP).min(), pl.col(_LAST_GROUP).max()] if self.group else []
        found = pl.concat([self._of_shard(path, [*masks, *groups]) for path in paths])
        subjects = found.lazy().group_by(SUBJECT_ID).agg(*masks, *groups).collect(engine="streaming").sort(SUBJECT_ID)
        if self.group:
            self._check_groups(subjects)
        else:
            subjects = subjects.with_columns(pl.lit(None, pl.String).alias(GROUP))
        return subjects.select(SUBJECT_ID, self._stratum().alias(STRATUM), GROUP)

    def _of_shard(self, path: Path, aggregates: list[pl.Expr]) -> pl.DataFrame:
        """What is known of each subject by one shard."""
        scan = scan_parquet(path)
        needed = self._needed(path, scan.collect_schema().names())
        try:
            rows = checked(scan, SUBJECT_ID, *(name for name in (TIME, CODE, NUMERIC_VALUE) if name in needed))
        except InputError as error:
            error.add_note(f"It is in {path}.")
            raise
        masks = [mask.alias(_mask(number)) for number, (mask, _) in enumerate(self.matchers.values())]
        group = [self.group[0].alias(GROUP)] if self.group else []
        rows = rows.filter(pl.col(SUBJECT_ID).is_not_null())
        rows = rows.select(pl.col(SUBJECT_ID).cast(pl.Int64), *masks, *group)
        if group:
            dtype = rows.collect_schema()[GROUP]
            rows = rows.with_columns(_comparable(dtype)).with_columns(pl.col(GROUP).alias(_LAST_GROUP))
        found = rows.group_by(SUBJECT_ID).agg(aggregates).collect(engine="streaming")
        if group:
            found = found.with_columns(number_as_text(pl.col(GROUP, _LAST_GROUP), found.schema[GROUP]))
        return found

    def _needed(self, path: Path, there: Sequence[str]) -> set[str]:
        """The columns that the traits read; an error where the shard lacks one."""
        parsed = [*self.matchers.values(), *([self.group] if self.group else [])]
        needed: set[str] = set().union(*(columns for _, columns in parsed))
        if missing := sorted(needed - {*there, NUMERIC_VALUE}):
            what = f"there is no column {missing[0]}{nearest(missing[0], there)}; it has {listed(there)}"
            raise MissingColumnError(what, str(path), "Correct stratify_by or group_by.")
        return needed

    def _check_groups(self, subjects: pl.DataFrame) -> None:
        """Raises a ValueError where subjects are in several groups."""
        several = subjects.filter(pl.col(GROUP) != pl.col(_LAST_GROUP))
        if several.height:
            subject, first, last = several.select(SUBJECT_ID, GROUP, _LAST_GROUP).row(0)
            what = (
                f"{counted(several.height, 'subject')} in several groups, such as {subject} in {first!r} and {last!r}"
            )
            raise InputError(what, "group_by", "Name what is the same in all measurements of a subject.")

    def _stratum(self) -> pl.Expr:
        """The name of the stratum: what of the matchers is there, and what is not."""
        said = [
            pl.when(pl.col(_mask(number))).then(pl.lit(label)).otherwise(pl.lit(f"not {label}"))
            for number, label in enumerate(self.matchers)
        ]
        return pl.concat_str(said, separator=", ") if said else pl.lit("")


def _mask(number: int) -> str:
    return internal(f"mask_{number}")


def _label(matcher: Any) -> str:
    """How a matcher is called in the report: the code, or all that it says."""
    if not isinstance(matcher, dict):
        return str(matcher)
    return " and ".join(f"{name}: {wanted}" for name, wanted in matcher.items()) or "any measurement"


def _comparable(dtype: pl.DataType) -> pl.Expr:
    """The group, so that the least and the greatest tell whether there are several; null where there is nothing in it.

    NOTE: numbers become text once they are one for each subject, which saves half of the time.
    """
    if dtype.is_nested():
        raise InputError(f"groups must be text or single values, not {dtype}", "group_by", "Name another column.")
    if is_text(dtype):
        return pl.col(GROUP).cast(pl.String).replace("", None)
    return pl.col(GROUP).fill_nan(None) if dtype.is_float() else pl.col(GROUP)
