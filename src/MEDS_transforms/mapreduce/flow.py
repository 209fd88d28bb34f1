"""What each stage of a pipeline will find when its turn comes, as far as the stages before it tell."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from ..dataset.code_metadata import check_metadata
from ..dataset.schema import CODE, MANDATORY_TYPES
from ..errors import MissingColumnError, Problem, UserError, listed
from ..settings.keys import code_modifiers
from ..settings.layout import CODES_FILE
from ..work.sources import Source
from .compute import CODE_METADATA, bind_compute_fn, needs, wants
from .match_revise import check_revisions
from .passes import PlannedStage

Codes = dict[str, pl.DataType]
"""The columns of a table of code metadata."""
_SEQUENCE_COLUMN = "time_delta_"


class Form(Enum):
    """What the rows of shards are."""

    MEASUREMENTS = "measurements"
    NUMBERED = "measurements whose codes are numbers"
    SEQUENCES = "sequences of events"
    NUMBERED_SEQUENCES = "sequences of events whose codes are numbers"
    TENSORS = "tensors"
    BATCHES = "batches of tensors"


_BEFORE = {
    Form.MEASUREMENTS: "Run it before the stages that make something else of measurements",
    Form.NUMBERED: "Run fit_vocabulary_indices and normalization before it",
    Form.NUMBERED_SEQUENCES: "Run fit_vocabulary_indices, normalization and tokenization before it, in this order",
    Form.TENSORS: "Run tokenization and tensorization before it, in this order",
}


@dataclass
class Flow:
    """What is in the folders of a pipeline once the stages so far have run.

    `forms` and `codes` are by folder; None where nothing is known, as after a stage of the user's own.
    """

    forms: dict[Path, Form | None] = field(default_factory=dict)
    codes: dict[Path, Codes | None] = field(default_factory=dict)
    is_lost: bool = False
    """Whether it is not known what some stage will do, so that nothing can be said of those after it."""

    def pass_by(self, module: Any, cfg: Mapping[str, Any]) -> list[Problem]:
        """Takes a stage for run; what it will not find that it needs.

        The module of a stage may say more of it:

        - `FORMS`: what it makes of the forms that it can read; default: of measurements measurements;
        - `codes_made(cfg)`: the columns of the code metadata that it makes, beside those before it;
        - `NEEDS_CODES`: the problem that there is no code metadata, of a stage that does not say by its function's
          parameters that it needs some; `codes_needed(cfg)`: the columns that such a stage needs.

        `module` is None for a stage of which nothing is known.
        """
        if self.is_lost:
            return []
        stage_cfg = cfg["stage_cfg"]
        read, written = Path(stage_cfg["data_input_dir"]), Path(stage_cfg["output_dir"])
        made = stage_cfg.get("reducer_output_dir")
        if module is None:
            self.forms[written] = None
            if made:
                self.codes[Path(made)] = None
            return []
        before = self._codes_in(Path(stage_cfg["metadata_input_dir"]))
        problems = self._wrong_form(module, cfg, read, written)
        if not _fails(module, cfg):  # else what is wrong is said already
            problems += _wrong_codes(module, cfg, before)
        if made and before is not None:
            codes_made = getattr(module, "codes_made", None)
            self.codes[Path(made)] = {**before, **codes_made(cfg)} if codes_made else None
        return problems

    def _codes_in(self, folder: Path) -> Codes | None:
        if folder not in self.codes:
            path = folder / CODES_FILE
            self.codes[folder] = dict(pl.read_parquet_schema(path)) if path.is_file() else {}
        return self.codes[folder]

    def _wrong_form(self, module: Any, cfg: Mapping[str, Any], read: Path, written: Path) -> list[Problem]:
        found = self.forms[read] if read in self.forms else form_in(read)
        forms: Mapping[Form, Form] = getattr(module, "FORMS", {Form.MEASUREMENTS: Form.MEASUREMENTS})
        if not cfg["stage_cfg"]["is_metadata"]:
            self.forms[written] = forms.get(found) if found else None
        is_strict = hasattr(module, "FORMS") or found not in (Form.MEASUREMENTS, Form.NUMBERED)
        if found is None or found in forms or not is_strict:
            return []
        wanted = listed(form.value for form in forms)
        return [Problem(f"it reads {wanted}, but will get {found.value}", remedy=_BEFORE[next(iter(forms))])]


def form_in(folder: Path) -> Form | None:
    """What the shards in a folder are, by the first of them; None where there is none, or it cannot be read."""
    try:
        paths = Source(folder, ".parquet").files()
        schema = pl.read_parquet_schema(folder / paths[0])
    except (UserError, OSError, IndexError, pl.exceptions.PolarsError):
        return None
    if any(name.startswith(_SEQUENCE_COLUMN) for name in schema):
        codes: Any = schema.get(CODE, pl.Null())
        while isinstance(codes, pl.List):
            codes = codes.inner
        return Form.NUMBERED_SEQUENCES if codes.is_integer() else Form.SEQUENCES
    if CODE not in schema or isinstance(schema[CODE], pl.List):
        return None
    return Form.NUMBERED if schema[CODE].is_integer() else Form.MEASUREMENTS


def _fails(module: Any, cfg: Mapping[str, Any]) -> bool:
    """Whether the check of a stage finds mistakes in its settings."""
    check = getattr(module, "check", None)
    return check is not None and bool(_refusals(lambda: check(cfg)))


def _wrong_codes(module: Any, cfg: Mapping[str, Any], codes: Codes | None) -> list[Problem]:
    """What the stage will say against the columns of the code metadata."""
    if codes is None:
        return []
    if needed := getattr(module, "NEEDS_CODES", None):
        if not codes:
            return [Problem.of(needed)]
        codes_needed = getattr(module, "codes_needed", lambda _: ())
        return _refusals(lambda: check_metadata(pl.DataFrame(schema=codes), codes_needed(cfg)))
    compute_fn = _compute_fn(getattr(module, "run", None))
    if not wants(compute_fn, CODE_METADATA):
        return []
    if not codes and needs(compute_fn, CODE_METADATA):
        folder = cfg["stage_cfg"]["metadata_input_dir"]
        what = f"there will be no code metadata in {folder}, which it needs"
        return [Problem(what, remedy="Run a stage before it that makes it: aggregate_code_metadata, say")]
    modifiers = code_modifiers(cfg) or []
    types = {**dict.fromkeys(modifiers, pl.String()), **codes}
    metadata = pl.DataFrame(schema=types) if codes else None
    data = pl.LazyFrame(schema={**MANDATORY_TYPES, **{name: types[name] for name in modifiers}})

    def attempt(stage_cfg: Mapping[str, Any]) -> None:
        frame: Any = bind_compute_fn(cfg, stage_cfg, compute_fn, metadata)(data)
        frame.lazy().collect_schema()

    return _refusals(lambda: check_revisions(cfg, attempt))


def _refusals(check: Callable[[], object]) -> list[Problem]:
    """What a check says is wrong."""
    try:
        check()
    except MissingColumnError:  # of the data, of which just the columns of every MEDS file are known here
        return []
    except UserError as error:
        common = f"{error.headline}: " if error.headline else ""
        return [Problem(f"{common}{one.what}", one.where, one.remedy) for one in error.problems]
    return []


def _compute_fn(run: object) -> Any:
    """The function that a stage applies to its shards, where it says so."""
    plan = run.plan if isinstance(run, PlannedStage) else None
    return plan.keywords.get("compute_fn") if isinstance(plan, partial) else None
