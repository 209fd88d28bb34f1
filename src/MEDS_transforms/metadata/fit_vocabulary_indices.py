"""Numbers the codes: a vocabulary for models.

Codes are numbered from 1 in the order of the text of code, then each code modifier, null first, so that a row for all
codes together (null code) has number 1; or, with `ordering_method: frequency`, in that of their occurrences. 0 is
reserved for unknown codes, and for padding. Settings leave codes out, whose `code/vocab_index` is null: normalization
drops their rows. A vocabulary that is extended keeps all of its numbers. Only worker 0 runs the stage.

Input: the code metadata, with `code/n_occurrences` and `code/n_subjects` as the settings need them (stage
count_code_occurrences); the vocabulary that is extended.
Output: `<reducer_output_dir>/codes.parquet`, the code metadata with `code/vocab_index` (the smallest unsigned type);
rows in the order in which they were, then those of codes that only the extended vocabulary has, then those of reserved
tokens. These have no more than a code and a number.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ..cli.script import stage_script
from ..dataset.code_metadata import check_metadata, check_unique, code_key, read_codes
from ..dataset.columns import columns, internal
from ..dataset.dtypes import is_text, with_common_dtypes
from ..dataset.schema import CODE, VOCAB_INDEX
from ..errors import InputError, MissingColumnError, MissingInputError, Problem, listed, nearest
from ..mapreduce.accounting import IN, OUT
from ..mapreduce.figures import count_codes
from ..mapreduce.passes import PlannedStage
from ..mapreduce.plans import Others, Plan
from ..mapreduce.reducer import plan_reduction
from ..mapreduce.stage_outputs import stage_outputs
from ..settings.checks import checked_value
from ..settings.keys import code_modifiers
from ..settings.layout import CODES_FILE
from ..settings.plain import plain
from ..work.accounts import Account
from ..work.sources import Source
from .former_vocabulary import FORMER, former_path, read_former
from .vocabulary import Vocabulary, number_codes, read_vocabulary

NEEDS_CODES = Problem(
    "there will be no code metadata whose codes it could number",
    remedy="Run a stage before it that makes it: fit_normalization",
)
_BOTH = "the code metadata and the vocabulary that is extended"


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    read_vocabulary(cfg["stage_cfg"])
    _read_former(cfg)


def codes_made(_: Mapping[str, Any]) -> dict[str, pl.DataType]:
    """The columns of the code metadata that the stage makes."""
    return {VOCAB_INDEX: pl.UInt32()}


def codes_needed(cfg: Mapping[str, Any]) -> list[str]:
    """The columns of the code metadata that the stage needs."""
    return read_vocabulary(cfg["stage_cfg"]).needed


def plan(cfg: Mapping[str, Any]) -> Plan:
    """What the stage is to do."""
    stage_cfg = cfg["stage_cfg"]
    modifiers, vocabulary = code_modifiers(cfg), read_vocabulary(stage_cfg)
    folder = Path(stage_cfg["metadata_input_dir"])
    account: Account = {}

    def fit(_: list[Path]) -> pl.DataFrame:
        codes = read_codes(folder)
        if codes is None:
            raise MissingInputError(
                f"There is no code metadata {folder / CODES_FILE}. Run a stage that makes it first, such as "
                "fit_normalization, or correct metadata_input_dir."
            )
        numbered, figures = fit_vocabulary(codes, modifiers, vocabulary, _read_former(cfg))
        account.update({IN: count_codes(codes), OUT: count_codes(numbered), "vocabulary": figures})
        return numbered

    sources = {"code metadata": Source.of_files(folder / CODES_FILE)}
    if stage_cfg.get("extend_fp"):
        sources["extended vocabulary"] = Source.of_files(former_path(stage_cfg["extend_fp"]), whole=True)
    outputs = stage_outputs(cfg, sources, folder=Path(stage_cfg["reducer_output_dir"]))
    return plan_reduction(cfg, outputs, [], fit, lambda _: account)


run = PlannedStage(plan, others=Others.DROPPED)


def _read_former(cfg: Mapping[str, Any]) -> pl.DataFrame | None:
    """The vocabulary that is extended; None if there is none.

    Raises:
        ValueError: it is what the stage writes, or cannot be used; see `read_former`.
    """
    stage_cfg = cfg["stage_cfg"]
    extend_fp = checked_value("fit_vocabulary_indices", plain(stage_cfg), "extend_fp")
    if not extend_fp:
        return None
    path = former_path(extend_fp)
    if path.resolve() == (Path(stage_cfg["reducer_output_dir"]) / CODES_FILE).resolve():
        raise InputError(f"extend_fp: {path} is what the stage writes", remedy="Copy it elsewhere, and name the copy.")
    return read_former(path, code_key(code_modifiers(cfg)))


def with_vocabulary_indices(codes: pl.DataFrame, code_modifiers: Sequence[str] | None) -> pl.DataFrame:
    """The code metadata with the `code/vocab_index` of every code; see `fit_vocabulary`.

    >>> with_vocabulary_indices(pl.DataFrame({"code": ["b", "a", None]}), None)["code/vocab_index"].to_list()
    [3, 2, 1]
    """
    return fit_vocabulary(codes, code_modifiers, Vocabulary())[0]


def fit_vocabulary(
    codes: pl.DataFrame,
    code_modifiers: Sequence[str] | None,
    vocabulary: Vocabulary,
    former: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, Account]:
    """The code metadata with `code/vocab_index`, and figures of it; see `number_codes`.

    Args:
        codes: the code metadata.
        code_modifiers: the columns that tell codes apart together with `code`.
        vocabulary: which codes get a number, and in which order.
        former: the vocabulary that is extended, as `read_former` gives it.

    Raises:
        KeyError: columns of the key are missing.
        ValueError: counts are missing, several rows have the same key, or a reserved token is a code.
    """
    key = code_key(code_modifiers)
    if missing := [column for column in key if column not in codes.columns]:
        raise MissingColumnError(
            f"The code metadata has no column {listed(missing)}{nearest(missing[0], codes.columns)}. Correct "
            "code_modifiers, or compute the metadata with them (aggregate_code_metadata) before this stage."
        )
    check_metadata(codes, vocabulary.needed)
    check_unique(codes, key)
    if is_text(codes.schema[CODE]) or codes.schema[CODE] == pl.Null:
        codes = codes.cast({CODE: pl.String})  # as tokens are
    if former is None:
        former = codes.select(*columns(key), pl.lit(None, pl.Int64).alias(FORMER)).clear()
    codes, former = with_common_dtypes([codes, former], _BOTH)
    # NOTE: a join takes some names for patterns, so modifiers have others meanwhile.
    plain_names = {modifier: internal(f"modifier{n}") for n, modifier in enumerate(code_modifiers or ())}
    codes, former = codes.rename(plain_names), former.rename(plain_names)
    numbered, figures = number_codes(codes, [*plain_names.values()], vocabulary, former)
    return numbered.rename({name: modifier for modifier, name in plain_names.items()}), figures


main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
