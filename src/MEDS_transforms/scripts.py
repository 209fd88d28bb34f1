"""Every console script of the package, in one table: what it is called is in pyproject.toml."""

from collections.abc import Callable

from .config import EXTRACT_CONFIG_YAML
from .stage import stage_script


def _extract(stage: str) -> Callable[..., None]:
    return stage_script(f"MEDS_transforms.extract.{stage}", EXTRACT_CONFIG_YAML)


shard_events = _extract("shard_events")
split_and_shard_subjects = _extract("split_and_shard_subjects")
convert_to_sharded_events = _extract("convert_to_sharded_events")
merge_to_MEDS_cohort = _extract("merge_to_MEDS_cohort")
extract_code_metadata = _extract("extract_code_metadata")
finalize_MEDS_metadata = _extract("finalize_MEDS_metadata")
finalize_MEDS_data = _extract("finalize_MEDS_data")


def runner() -> None:
    """Runs a whole pipeline."""
    from .runner import main

    main()
