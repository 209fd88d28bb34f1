"""Numbers the codes: a vocabulary for models.

Codes are numbered from 1 in the order of the text of code, then each code modifier, null first, so that a row for all
codes together (null code) has number 1. 0 is reserved for unknown codes. Only worker 0 runs the stage.

Input: the code metadata.
Output: `<reducer_output_dir>/codes.parquet`, the code metadata with `code/vocab_index` (the smallest unsigned type);
rows in the order in which they were.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ..cli.script import stage_script
from ..dataset.code_metadata import check_unique, code_key, read_codes, to_smallest_unsigned
from ..dataset.columns import columns
from ..dataset.schema import VOCAB_INDEX
from ..errors import MissingColumnError, MissingInputError, Problem, listed, nearest
from ..mapreduce.accounting import IN, OUT
from ..mapreduce.figures import count_codes
from ..mapreduce.passes import PlannedStage
from ..mapreduce.plans import Others, Plan
from ..mapreduce.reducer import plan_reduction
from ..mapreduce.stage_outputs import stage_outputs
from ..settings.keys import code_modifiers
from ..settings.layout import CODES_FILE
from ..work.sources import Source

NEEDS_CODES = Problem(
    "there will be no code metadata whose codes it could number",
    remedy="Run a stage before it that makes it: fit_normalization",
)


def codes_made(_: Mapping[str, Any]) -> dict[str, pl.DataType]:
    """The columns of the code metadata that the stage makes."""
    return {VOCAB_INDEX: pl.UInt32()}


def plan(cfg: Mapping[str, Any]) -> Plan:
    """What the stage is to do."""
    stage_cfg = cfg["stage_cfg"]
    modifiers = code_modifiers(cfg)
    folder = Path(stage_cfg["metadata_input_dir"])

    def fit(_: list[Path]) -> pl.DataFrame:
        codes = read_codes(folder)
        if codes is None:
            raise MissingInputError(
                f"There is no code metadata {folder / CODES_FILE}. Run a stage that makes it first, such as "
                "fit_normalization, or correct metadata_input_dir."
            )
        return with_vocabulary_indices(codes, modifiers)

    sources = {"code metadata": Source.of_files(folder / CODES_FILE)}
    outputs = stage_outputs(cfg, sources, folder=Path(stage_cfg["reducer_output_dir"]))
    return plan_reduction(cfg, outputs, [], fit, lambda codes: {IN: count_codes(codes), OUT: count_codes(codes)})


run = PlannedStage(plan, others=Others.DROPPED)


def with_vocabulary_indices(codes: pl.DataFrame, code_modifiers: Sequence[str] | None) -> pl.DataFrame:
    """The code metadata with `code/vocab_index`; rows keep their order.

    Raises:
        KeyError: columns of the key are missing.
        ValueError: several rows have the same key; the message shows them with their counts.

    >>> with_vocabulary_indices(pl.DataFrame({"code": ["b", "a", None]}), None)["code/vocab_index"].to_list()
    [3, 2, 1]
    """
    key = code_key(code_modifiers)
    if missing := [column for column in key if column not in codes.columns]:
        raise MissingColumnError(
            f"The code metadata has no column {listed(missing)}{nearest(missing[0], codes.columns)}. Correct "
            "code_modifiers, or compute the metadata with them (aggregate_code_metadata) before this stage."
        )
    check_unique(codes, key)
    ranks = codes.select(pl.arg_sort_by(columns(key), nulls_last=False).arg_sort() + 1).to_series()
    return codes.with_columns(to_smallest_unsigned(ranks).alias(VOCAB_INDEX))


main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
