"""Merges what a metadata stage computed shard by shard into one table: the reduction of map-reduce."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ..dataset.io import codes_writer
from ..settings.layout import CODES_FILE
from ..work.accounts import Account
from ..work.claims import Staged, Unit
from ..work.outputs import StageOutputs
from .accounting import OUT
from .figures import count_codes
from .passes import finish
from .plans import Plan

logger = logging.getLogger(__name__)

ReduceFn = Callable[[list[Path]], pl.DataFrame]
AccountFn = Callable[[pl.DataFrame], Account]


def plan_reduction(
    cfg: Mapping[str, Any],
    outputs: StageOutputs,
    units: Sequence[Unit],
    reduce_fn: ReduceFn,
    account_fn: AccountFn = lambda merged: {OUT: count_codes(merged)},
) -> Plan:
    """Plans to do the units' work and, as worker 0, to merge their outputs into `<reducer_output_dir>/codes.parquet`.

    The other workers end after mapping. Worker 0 waits for what they still hold, and itself does what nobody
    holds, so that it finishes even if all the others die. Should it be lost itself, the others' notes tell that the
    merged table is to be made. Of workers that stay (see `work.staying`), any may merge.

    `account_fn` says of the merged table what is to be noted of it for the accounting.
    """
    out_fp = Path(cfg["stage_cfg"]["reducer_output_dir"]) / CODES_FILE

    def merge(folder: Path) -> Staged:
        finish(units, cfg.get("polling_time", 1))
        merged = reduce_fn(sorted(unit.claim_fp for unit in units))
        codes_writer(out_fp.parent)(merged, folder / CODES_FILE)
        logger.info("%d codes from %d shards", merged.height, len(units))
        return Staged({out_fp: folder / CODES_FILE}, account_fn(merged))

    reduction = outputs.unit(out_fp, merge, "what was computed for each shard")
    return Plan(outputs, units, reduction, merges=cfg.get("worker", 0) == 0, makes_rows=False)
