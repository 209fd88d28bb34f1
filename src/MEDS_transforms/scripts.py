"""Every console script of the package, in one table: what it is called is in pyproject.toml."""

from collections.abc import Callable

from .cli.script import stage_script
from .settings.packaged import EXTRACT_CONFIG_YAML, PREPROCESS_CONFIG_YAML


def _extract(stage: str) -> Callable[..., None]:
    return stage_script(f"MEDS_transforms.extract.{stage}", EXTRACT_CONFIG_YAML)


def _transform(module: str) -> Callable[..., None]:
    return stage_script(f"MEDS_transforms.{module}", PREPROCESS_CONFIG_YAML)


shard_events = _extract("shard_events")
split_and_shard_subjects = _extract("split_and_shard_subjects")
convert_to_sharded_events = _extract("convert_to_sharded_events")
merge_to_MEDS_cohort = _extract("merge_to_MEDS_cohort")
extract_code_metadata = _extract("extract_code_metadata")
finalize_MEDS_metadata = _extract("finalize_MEDS_metadata")
finalize_MEDS_data = _extract("finalize_MEDS_data")


filter_measurements = _transform("filters.filter_measurements")
filter_subjects = _transform("filters.filter_subjects")
aggregate_code_metadata = _transform("metadata.aggregate_code_metadata")
fit_vocabulary_indices = _transform("metadata.fit_vocabulary_indices")
add_time_derived_measurements = _transform("transforms.add_time_derived_measurements")
extract_values = _transform("transforms.extract_values")
normalization = _transform("transforms.normalization")
occlude_outliers = _transform("transforms.occlude_outliers")
reorder_measurements = _transform("transforms.reorder_measurements")
reshard_to_split = _transform("transforms.reshard_to_split")
tensorization = _transform("transforms.tensorization")
tokenization = _transform("transforms.tokenization")


def runner() -> None:
    """Runs a whole pipeline."""
    from .runner import main

    main()
