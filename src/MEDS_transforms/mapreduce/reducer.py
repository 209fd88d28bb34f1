"""Merges what a metadata stage computed shard by shard into one table: the reduction of map-reduce."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ..dataset.io import codes_writer
from ..errors import listed
from ..settings.layout import CODES_FILE
from ..work.accounts import Account
from ..work.claims import Staged, Unit
from ..work.journal import note_plan
from ..work.outputs import StageOutputs
from .accounting import OUT
from .figures import count_codes
from .mapper import map_units

logger = logging.getLogger(__name__)

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_LOG_EVERY = 30.0


def map_and_reduce(
    cfg: Mapping[str, Any],
    outputs: StageOutputs,
    units: Sequence[Unit],
    reduce_fn: Callable[[list[Path]], pl.DataFrame],
    account_fn: Callable[[pl.DataFrame], Account] = lambda merged: {OUT: count_codes(merged)},
) -> None:
    """Does the units' work and, as worker 0, merges their outputs into `<reducer_output_dir>/codes.parquet`.

    The other workers end after mapping. Worker 0 waits for what they still hold, and itself does what nobody
    holds, so that it finishes even if all the others die. `account_fn` says of the merged table what is to be noted
    of it for the accounting.
    """
    out_fp = Path(cfg["stage_cfg"]["reducer_output_dir"]) / CODES_FILE

    def merge(folder: Path) -> Staged:
        finish(units, cfg.get("polling_time", _LONGEST_PAUSE))
        merged = reduce_fn(sorted(unit.claim_fp for unit in units))
        codes_writer(out_fp.parent)(merged, folder / CODES_FILE)
        logger.info("%d codes from %d shards", merged.height, len(units))
        return Staged({out_fp: folder / CODES_FILE}, account_fn(merged))

    reduction = outputs.unit(out_fp, merge, "what was computed for each shard")
    with outputs.being_made([*units, reduction]):
        # By every worker: should worker 0 be lost, the others' notes tell that the merged table is to be made.
        note_plan([out_fp])
        map_units(list(units))
        if cfg.get("worker", 0) != 0:
            logger.info("%s: to be merged by worker 0", out_fp)
        else:
            reduction.compute_once()


def finish(units: Sequence[Unit], polling_time: float) -> None:
    """Returns when every unit is done: does what nobody holds and waits for the rest.

    It looks again after a twentieth of a second at first, later after a second or `polling_time`, whichever is
    less.
    """
    pause, logged = _FIRST_PAUSE, float("-inf")
    while missing := [unit for unit in units if not unit.is_done()]:
        if sum(unit.compute_once() for unit in missing):
            continue
        if time.monotonic() - logged > _LOG_EVERY:
            logged = time.monotonic()
            logger.info("Waiting for other workers: %s", listed((unit.claim_fp for unit in missing), 5))
        time.sleep(min(pause, polling_time))
        pause = min(2 * pause, _LONGEST_PAUSE)
