"""What became of every row, at a stage's end: checked against limits, written to a file, logged as a table.

The file is `<cohort_dir>/metadata/accounting/<stage>.json`; see the guide on accounting for what it holds. The same
outputs give the same bytes, whatever the number of workers.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from ..settings.layout import accounting_path
from ..work.accounts import ON_THE_WAY, Account, added_up, in_words
from ..work.closing import Ended
from ..work.files import publish
from ..work.journal import note_refused
from ..work.provenance import FILES, OutputFile, read_record, record_path
from .figures import ROWS, count_data, count_rows, in_order
from .limits import Finding, check_limits, limits_of, warnings_of

logger = logging.getLogger(__name__)

Judge = Callable[[Account], Sequence[Finding]]
CountFn = Callable[[Sequence[Path]], Account]

DATA = "data"
"""What a stage's shards of measurements are called among its sources."""
THROUGH = "through"
"""The stages between what a stage counts as read and what it has made, since their outputs are not kept."""
IN, OUT, OUTPUTS, WARNINGS, EXAMPLES = "in", "out", "outputs", "warnings", "examples"
SEEN = "seen"
"""What is in accounts for `Judge` alone."""
_WIDTH = 160


def nothing_found(_: Account) -> Sequence[Finding]:
    """Finds no mistake in an account."""
    return ()


@dataclass(frozen=True)
class Accounting:
    """The accounting of the running stage.

    Args:
        cfg: its configuration.
        stage: its name.
        count_out: counts what is in its outputs; None: that is in the accounts of its units, or does not matter.
        count_in: counts what is in the shards that it reads, where the stage that made them has not noted that. Another
            function than `count_data` counts always: it leaves the rest to the accounts of the units.
        judge: finds in its account what may be a mistake.
        keeps_codes: whether each of its rows has the subject and the code of one that it reads, and none of these gives
            two. Where there are as many rows, subjects and codes need not be counted again.
    """

    cfg: Mapping[str, Any]
    stage: str
    count_out: CountFn | None = None
    count_in: CountFn = count_data
    judge: Judge = nothing_found
    keeps_codes: bool = False

    def settle(self, ended: Ended) -> None:
        """Accounts for a stage that has made all of its outputs.

        Raises:
            ValueError: limits of the pipeline are exceeded; then no file is written.
        """
        figures, through = self._figures(ended)
        account = added_up([figures, ended.account]) | ({THROUGH: through} if through else {})
        if on_the_way := account.pop(ON_THE_WAY, None):
            order = {stage: place for place, stage in enumerate(through)}
            account[ON_THE_WAY] = dict(sorted(on_the_way.items(), key=lambda item: order.get(item[0], len(order))))
        findings = self.judge(account)
        try:
            check_limits(findings, limits_of(self.cfg))
        except ValueError as error:
            note_refused(str(error))
            raise
        content = self._content(ended, _without_seen(account), warnings_of(findings))
        if path := self._path():
            publish(path, lambda scratch: scratch.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8"))
        logger.info("%s", "\n\n".join([f"What {self.stage} made of its input:", *tables_of(content)]))
        for finding in warnings_of(findings):
            logger.warning(finding.message)

    def forget(self) -> None:
        """Removes the account of an earlier run, of outputs that are not kept now."""
        if path := self._path():
            path.unlink(missing_ok=True)

    def _path(self, root: str = "cohort_dir") -> Path | None:
        with suppress(Exception):  # a configuration of the user's own may have no such folder
            return accounting_path(Path(self.cfg[root]), self.stage) if self.cfg.get(root) else None
        return None

    def _content(self, ended: Ended, account: Account, warnings: Sequence[Finding]) -> Account:
        head = {"stage": self.stage, "version": ended.maker.version, OUTPUTS: digest_of(_made(ended))}
        by_unit = self.count_out is None or ended.account
        uncounted = {"uncounted_files": ended.uncounted} if ended.uncounted and by_unit else {}
        found = [{"kind": f.kind, "where": f.where, "figure": f.figure, "message": f.text} for f in warnings]
        data = {key: dict(in_order(account[key])) for key in (IN, OUT) if key in account}
        return (
            head
            | data
            | {key: value for key, value in account.items() if key not in data}
            | uncounted
            | {WARNINGS: found}
        )

    def _figures(self, ended: Ended) -> tuple[Account, list[str]]:
        """What is in the shards that the stage has read, and in those that it has made.

        Where shards that it has read are not kept, what it counts as read is what these were made of, unless it has
        read those of the train split alone; the second result has the stages that made them.
        """
        figures: Account = {}
        folder, source, through, is_part = ended.folder, ended.maker.inputs.get(DATA), list[str](), False
        while source is not None and FILES not in source:
            [stage] = source["made_by"]
            folder, through = folder / source["folder"], [stage, *through]
            if not record_path(folder, stage).exists() and record_path(folder.parent, stage).exists():
                folder, is_part = folder.parent, True
            record = read_record(folder, stage)
            source = record.made_by.inputs.get(DATA) if record else None
        files = source[FILES] if source is not None else {}
        if source is not None and not is_part:
            noted = self._noted_by_producer(source) if self.count_in is count_data else None
            figures[IN] = noted or self.count_in([folder / source["folder"] / name for name in files])
        if self.count_out is not None:
            passed_on = bool(files) and digest_of(_made(ended)) == digest_of(files.values())
            same_rows = self.keeps_codes and not through and _same_rows(figures.get(IN, {}), ended.files)
            figures[OUT] = figures[IN] if passed_on or same_rows else self.count_out(ended.files)
        return figures, through

    def _noted_by_producer(self, source: Mapping[str, Any]) -> Account | None:
        """What the stage that made these files has noted of them, if that is about just them, as they are."""
        for stage in source.get("made_by", ()):
            for root in ("cohort_dir", "input_dir"):
                with suppress(Exception):  # no such file, or not one of ours
                    noted = json.loads(accounting_path(Path(self.cfg[root]), stage).read_text(encoding="utf-8"))
                    if noted[OUTPUTS] == digest_of(source[FILES].values()):
                        return dict(noted[OUT])
        return None


def _same_rows(figures: Account, files: Sequence[Path]) -> bool:
    """Whether there are as many rows in as many files as the figures say."""
    return {key: figures.get(key) for key in (FILES, ROWS)} == count_rows(files)


def digest_of(files: Iterable[Sequence[Any] | None]) -> str:
    """A short text that differs where files do, by their sizes and checksums; their names and order do not matter."""
    known = sorted((size, check) for size, check, *_ in filter(None, files))
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


def _made(ended: Ended) -> Iterator[OutputFile]:
    """The tables among the outputs, or all of these where there is none."""
    files = {name: file for of_unit in ended.outputs.values() for name, file in of_unit.items()}
    tables = [file for name, file in files.items() if name.endswith(".parquet")]
    yield from tables or files.values()


def _without_seen(account: Mapping[str, Any]) -> Account:
    return {
        key: _without_seen(value) if isinstance(value, Mapping) else value
        for key, value in account.items()
        if key != SEEN
    }


def tables_of(content: Mapping[str, Any]) -> Iterator[str]:
    """The figures of an accounting file as tables of plain text, one for each of its parts."""
    data = {key: content[key] for key in (IN, OUT) if key in content}
    parts = {DATA: data} | {k: v for k, v in content.items() if isinstance(v, Mapping) and k not in (*data, ON_THE_WAY)}
    for title, part in parts.items():
        if rows := dict(_rows(part, title)):
            yield _table(title, rows)
    lines = [f"{stage}: {line}" for stage, noted in content.get(ON_THE_WAY, {}).items() for line in in_words(noted)]
    if lines:
        yield "\n".join(["on the way, in data that are not kept", *lines])


def _rows(part: Mapping[str, Any], name: str, above: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The innermost mappings that have figures, with their names from the top of the part."""
    if any(not isinstance(value, Mapping) for value in part.values()):
        yield above or name, part
        return
    for key, value in part.items():
        yield from _rows(value, key, f"{above}.{key}" if above else key)


def _table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    from rich.console import Console  # not above: only one worker needs it, at its end
    from rich.table import Table

    longest_first = sorted(rows.values(), key=len, reverse=True)  # which has most columns in their order
    columns = dict.fromkeys(key for row in longest_first for key in row)
    table = Table(title, box=None, pad_edge=False)
    for column in columns:
        is_text = any(isinstance(row.get(column), Mapping | list) for row in rows.values())
        table.add_column(column.replace("_", " "), justify="left" if is_text else "right")
    for name, row in rows.items():
        table.add_row(name, *(_shown(row.get(column)) for column in columns))
    text = StringIO()
    Console(  # NOTE: in a notebook rich shows what it prints there, whatever its file is, unless it is told not to
        file=text, width=_WIDTH, color_system=None, markup=False, highlight=False, emoji=False, force_jupyter=False
    ).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _shown(value: Any) -> str:
    """A figure in a cell; of several, those that are not 0, a line each."""
    if isinstance(value, Mapping):
        shown = {key.replace("_", " "): _shown(one) for key, one in value.items() if one}
        return "\n".join(f"{key}: {text}" for key, text in shown.items() if text)
    if isinstance(value, list):
        return ", ".join(map(repr, value))
    return f"{value:,}" if isinstance(value, int) else "" if value is None else str(value)
