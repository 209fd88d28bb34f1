"""Where each stage of a pipeline reads and writes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..errors import InputError, Problem, WrongTypeError, listed, nearest, not_set
from ..work.raw_tables import find_parts
from .layout import DATA_DIR, METADATA_DIR
from .plain import plain
from .yaml_file import read_yaml

INFERRED_STAGE_KEYS = {
    "is_metadata",
    "data_input_dir",
    "metadata_input_dir",
    "output_dir",
    "reducer_output_dir",
    "train_only",
}
"""The keys of a stage's block that `populate_stage` fills in where the block does not set them."""
Block = dict[str, Any]


def is_metadata_stage(block: Mapping[str, Any] | None) -> bool:
    """Whether a stage with this block produces code metadata (True) or data (False).

    Raises:
        TypeError: `is_metadata` is neither a boolean nor null.
    """
    block = block or {}
    if not _sets(block, "is_metadata"):
        return _sets(block, "aggregations")
    value = block["is_metadata"]
    if not isinstance(value, bool | None):
        raise WrongTypeError(f"is_metadata must be true, false or null, not {value!r}.")
    return bool(value)


def populate_stage(
    stage_name: str,
    input_dir: str,
    cohort_dir: str,
    stages: Sequence[str],
    stage_configs: Mapping[str, Any],
    pre_parsed_stages: Mapping[str, Block] | None = None,
) -> Block:
    """A stage's own block, with the keys of `INFERRED_STAGE_KEYS` added that it does not set itself.

    `pre_parsed_stages` holds the filled-in blocks of earlier stages, where they are known already.

    Raises:
        ValueError: a folder is not set, the stage is not among `stages`, a name occurs there twice, or what should be a
            block of keys is none.
        TypeError: an `is_metadata` is neither a boolean nor null.

    Examples:
        >>> block = populate_stage("b", "in", "out", ["a", "b", "c"], {"b": {"x": 1}})
        >>> block["x"], block["data_input_dir"], block["output_dir"]
        (1, 'out/a', 'out/b')
        >>> populate_stage("c", "in", "out", ["a", "b", "c"], {})["output_dir"]
        'out/data'
    """
    stages = _given(input_dir, cohort_dir, stages, stage_configs)
    if stage_name not in stages:
        raise InputError(
            f"'{stage_name}' is not a valid stage name. Options are: {', '.join(stages)}{nearest(stage_name, stages)}"
        )
    if repeated := {s for s in stages if stages.count(s) > 1}:
        raise InputError(f"Stage names must be unique; `stages` repeats: {listed(repeated)}")

    folders = _Folders(input_dir, cohort_dir, stages, stage_configs)
    for stage in stages[: stages.index(stage_name) + 1]:
        folders.fill(stage, (pre_parsed_stages or {}).get(stage))
    return dict(plain(stage_configs.get(stage_name)) or {}) | folders.filled[stage_name]


def stage_folders(
    input_dir: str, cohort_dir: str, stages: Sequence[str], stage_configs: Mapping[str, Any]
) -> dict[str, Block]:
    """The keys of `INFERRED_STAGE_KEYS` of every stage of a pipeline, in order."""
    folders = _Folders(input_dir, cohort_dir, stages, stage_configs)
    for stage in stages:
        folders.fill(stage)
    return folders.filled


def _given(input_dir: Any, cohort_dir: Any, stages: Any, stage_configs: Any) -> list[str]:
    """The list of stages; an InputError where it, a folder or a block of a stage is not what it should be.

    NOTE: folders and blocks are filled in before anything else is looked at, since logs lie in a stage's folder.
    """
    mandatory = {"input_dir": input_dir, "cohort_dir": cohort_dir, "stages": stages}
    if unset := [key for key, value in mandatory.items() if value in (None, "")]:
        raise InputError(not_set(*unset))
    if isinstance(stages, str):
        raise InputError(f"stages must be a list of names, not {stages!r}. Write stages=[{stages}].")
    if not isinstance(stages, Sequence):
        raise InputError(f"stages must be a list of names, not {stages!r}.")
    if not isinstance(stage_configs, Mapping):
        raise InputError(f"stage_configs must be a block of keys for each stage, not {stage_configs!r}.")
    for stage in stages:
        if not isinstance(block := stage_configs.get(stage), Mapping | None):
            raise InputError(f"stage_configs.{stage}: must be a block of keys, not {block!r}.")
    return list(stages)


def overlap(input_dir: str | Path | None, cohort_dir: str | Path | None) -> Problem | None:
    """Why a cohort cannot be written to one folder from the other; None if it can.

    What a stage reads from `input_dir`, or other stages from the cohort, must not change under their hands: the two
    must not be the same folder, and neither may lie in the other's `data` or `metadata`. A cohort may lie beside the
    raw tables, also below their folder. Links are followed.
    """
    if not input_dir or not cohort_dir:
        return None
    source, target = _resolved(input_dir), _resolved(cohort_dir)
    if source == target:
        what = f"input_dir and cohort_dir are the same folder, {source}"
        return Problem(what, remedy="Give the cohort a folder of its own.")
    for outer, inner, what in ((source, target, "cohort_dir"), (target, source, "input_dir")):
        for part in (DATA_DIR, METADATA_DIR):
            if (outer / part) in (inner, *inner.parents):
                found = f"{what} ({inner}) lies in {outer / part}, which the pipeline reads or writes"
                return Problem(found, remedy="Move one of them.")
    return None


def folder_problems(cfg: DictConfig) -> list[Problem]:
    """What is wrong with the folders that a pipeline reads and writes.

    NOTE: a folder that cannot be resolved, since a key or an environment variable is not set, is for its stage to say.
    """
    input_dir, cohort_dir = (OmegaConf.select(cfg, key) for key in ("input_dir", "cohort_dir"))
    if wrong := overlap(input_dir, cohort_dir):
        return [wrong]
    if input_dir and cohort_dir:
        with suppress(Exception):
            folders = stage_folders(input_dir, cohort_dir, cfg.stages, cfg.stage_configs)
            return output_problems(folders, _raw_tables(cfg, folders))
    return []


def output_problems(folders: Mapping[str, Block], raw_tables: Iterable[Path] | None = None) -> list[Problem]:
    """Which stages would write to what the pipeline reads, or to the folder of another stage. Links are followed.

    Args:
        folders: the stages in order, with their folders; see `stage_folders`.
        raw_tables: the files that the pipeline extracts, beside or below which a cohort may lie; None where it reads a
            MEDS dataset, whose folders no stage may touch.
    """
    read = {_resolved(path) for path in (_first_read(folders) if raw_tables is None else raw_tables)}
    problems, writers = list[Problem](), dict[tuple[str, Path], str]()
    for stage, key, folder in _written(folders):
        remedy = f"Choose another cohort_dir, or another stage_configs.{stage}.{key}."
        if touched := [path for path in read if folder in (path, *path.parents) or path in folder.parents]:
            what = (
                f"the stage {stage} would write to {folder}, and the pipeline reads {listed(touched, 3)}, which "
                "could be replaced, or mixed with outputs"
            )
            problems.append(Problem(what, remedy=remedy))
        if (other := writers.setdefault((key, folder), stage)) != stage:
            what = f"the stages {other} and {stage} would both write to {folder} ({key})"
            problems.append(Problem(what, remedy=remedy))
    return problems


def _first_read(folders: Mapping[str, Block]) -> Iterator[str]:
    """The folders that stages read and no stage before them writes."""
    written: set[Any] = set()
    for block in folders.values():
        yield from (block[key] for key in ("data_input_dir", "metadata_input_dir") if block[key] not in written)
        written |= {block["output_dir"], block["reducer_output_dir"]}


def _written(folders: Mapping[str, Block]) -> Iterator[tuple[str, str, Path]]:
    """The folders that stages write, each with its stage and the key that names it."""
    for stage, block in folders.items():
        for key in ("output_dir", "reducer_output_dir"):
            if block[key]:
                yield stage, key, _resolved(block[key])


def _raw_tables(cfg: DictConfig, folders: Mapping[str, Block]) -> list[Path] | None:
    """The raw tables, those of code metadata too, that are there; None if the pipeline does not extract any."""
    if "event_conversion_config_fp" not in cfg.keys():  # noqa: SIM118 - `in cfg` is False for a key that is not set
        return None
    content = read_yaml(Path(cfg.event_conversion_config_fp))
    roots = {str(cfg.input_dir), *(str(block["data_input_dir"]) for block in [*folders.values()][:1])}
    return [path for root in roots for name in _tables(content) for path in _files(Path(root), str(name))]


def _files(root: Path, table: str) -> list[Path]:
    """The files of a table; none where there is no such table, which is for its stage to say."""
    with suppress(OSError, InputError):
        return [part.path for part in find_parts(root, table)]
    return []


def _tables(event_file: Mapping[Any, Any]) -> Iterator[Any]:
    for name, events in event_file.items():
        if isinstance(events, dict):
            yield name
            yield from _joined(events)
            for event in events.values():
                yield from (isinstance(event, dict) and event.get("_metadata")) or ()


def _joined(block: Mapping[Any, Any]) -> Iterator[Any]:
    """The tables that are joined to a table, by its block; in the newer line's language the key is `_table`."""
    joins = block.get("join")
    yield from (join.get("table") for join in (joins if isinstance(joins, list) else [joins]) if isinstance(join, dict))
    newer = block.get("_table")
    if isinstance(newer, dict) and isinstance(newer.get("join"), dict):
        yield from newer["join"]


def _resolved(path: str | Path) -> Path:
    return Path(path).expanduser().resolve()


class _Folders:
    """The inferred keys of the stages of a pipeline, which are filled in from the first one on.

    NOTE: of other stages' blocks only these keys are looked at, so that what another stage still misses, or an
    environment variable that only it needs, does not matter here. It takes OmegaConf long to look at a key: what is
    asked of all stages is asked once.
    """

    def __init__(
        self, input_dir: str, cohort_dir: str, stages: Sequence[str], stage_configs: Mapping[str, Any]
    ) -> None:
        self.input_dir, self.cohort_dir = input_dir, cohort_dir
        self.blocks = {stage: stage_configs.get(stage) or {} for stage in stages}
        self.is_metadata = {stage: is_metadata_stage(block) for stage, block in self.blocks.items()}
        makers = [stage for stage, block in self.blocks.items() if not _makes_no_codes(block)]
        self.last = {self.is_metadata[stage]: stage for stage in makers}
        """The last stage that makes code metadata (True), and the last that makes data (False)."""
        self.filled: dict[str, Block] = {}

    def fill(self, stage: str, known: Block | None = None) -> None:
        """Fills in the keys of the next stage, or takes its block as it is known."""
        self.filled[stage] = dict(known) if known else self._inferred(stage)

    def _inferred(self, stage: str) -> Block:
        block, is_metadata = self.blocks[stage], self.is_metadata[stage]
        is_last, own_dir = self.last.get(is_metadata) == stage, f"{self.cohort_dir}/{stage}"
        inferred: Block = {
            "is_metadata": is_metadata,
            "data_input_dir": self._nearest_earlier(False, "output_dir", DATA_DIR),
            "metadata_input_dir": self._nearest_earlier(True, "reducer_output_dir", METADATA_DIR),
            "output_dir": f"{self.cohort_dir}/data" if is_last and not is_metadata else own_dir,
            "reducer_output_dir": None,
        }
        if is_metadata:
            inferred["reducer_output_dir"] = f"{self.cohort_dir}/metadata" if is_last else own_dir
            inferred["train_only"] = True
        return inferred | {key: block[key] for key in inferred if _sets(block, key)}

    def _nearest_earlier(self, is_metadata: bool, key: str, otherwise: str) -> Any:
        before = [block[key] for s, block in self.filled.items() if self.is_metadata[s] is is_metadata and block[key]]
        return before[-1] if before else f"{self.input_dir}/{otherwise}"


def _makes_no_codes(block: Mapping[str, Any] | None) -> bool:
    """Whether a block says that its stage writes no code metadata: stages after it read what was there before."""
    block = block or {}
    return _sets(block, "reducer_output_dir") and block["reducer_output_dir"] is None


def key_of(cfg: Mapping[str, Any], key: str) -> str:
    """The key that the user has set, or would set, to name a folder that a stage reads: its own, or `input_dir`."""
    stage, own = cfg.get("stage"), (cfg.get("stage_cfg") or {}).get(key)
    block = (cfg.get("stage_configs") or {}).get(stage) or {}
    if isinstance(block, Mapping) and _sets(block, key) and str(block[key]) != str(cfg.get("input_dir")):
        return f"stage_configs.{stage}.{key}"
    inputs = [str(cfg.get("input_dir")), *(f"{cfg.get('input_dir')}/{part}" for part in (DATA_DIR, METADATA_DIR))]
    return "input_dir" if str(own) in inputs else f"stage_configs.{stage}.{key}"


def _sets(block: Mapping[str, Any], key: str) -> bool:
    """Whether a block has a value for a key. NOTE: OmegaConf takes long to say that a key it lacks has none."""
    return key in block.keys() and key in block  # noqa: SIM118
