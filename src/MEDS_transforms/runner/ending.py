"""What the runner says at its end: where the result is, how much it holds, and what stages have warned of."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import counted
from ..settings.layout import DATA_DIR, accounting_path
from .pipeline import Pipeline


def last_words(pipeline: Pipeline, before: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Lines about the result of a pipeline that is done, and the warnings to repeat, each once.

    These are what was said `before` the stages ran, and what is in their accounts.
    """
    cohort_dir = Path(pipeline.value("cohort_dir") or ".")
    accounts = [account for stage in pipeline.stage_names if (account := account_of(cohort_dir, stage))]
    of_stages = (f"{found['where']}: {found['message']}" for one in accounts for found in _warnings(one))
    warnings = [*dict.fromkeys([*of_stages, *before])]
    lines = []
    if (cohort_dir / DATA_DIR).is_dir():
        made = [one["out"] for one in accounts if isinstance(one.get("out"), Mapping)]
        lines = [f"The result is in {cohort_dir / DATA_DIR}{_how_much(made[-1]) if made else ''}."]
    lines += (
        [f"There {'was' if len(warnings) == 1 else 'were'} {counted(len(warnings), 'warning')}:"] if warnings else []
    )
    return lines, warnings


def _how_much(figures: Mapping[str, Any]) -> str:
    known = [(figures.get("rows"), "measurement"), (figures.get("subjects"), "subject")]
    words = [counted(number, noun) for number, noun in known if isinstance(number, int)]
    return f": {' of '.join(words)}" if words else ""


def _warnings(account: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for found in account.get("warnings") or ():
        if isinstance(found, Mapping) and {"where", "message"} <= found.keys():
            yield found


def account_of(cohort_dir: Path, stage: str) -> dict[str, Any]:
    """What a stage has noted of its rows; nothing where it keeps no account, or that cannot be read."""
    with suppress(OSError, ValueError):
        content = json.loads(accounting_path(cohort_dir, stage).read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    return {}
