"""Every stage that comes with the package: its name, which is its script's, and the module that runs it.

This table is all there is to the registration of a stage: console scripts, documentation pages and the tests' lists
come from it. Packages of others add stages of theirs under the entry-point group `MEDS_transforms.stages`.
"""

from importlib.metadata import entry_points

STAGES = {
    "shard_events": "extract.shard_events",
    "split_and_shard_subjects": "extract.split_and_shard_subjects",
    "convert_to_sharded_events": "extract.convert_to_sharded_events",
    "merge_to_MEDS_cohort": "extract.merge_to_MEDS_cohort",
    "extract_code_metadata": "extract.extract_code_metadata",
    "finalize_MEDS_metadata": "extract.finalize_MEDS_metadata",
    "finalize_MEDS_data": "extract.finalize_MEDS_data",
    "aggregate_code_metadata": "metadata.aggregate_code_metadata",
    "fit_vocabulary_indices": "metadata.fit_vocabulary_indices",
    "reshard_to_split": "transforms.reshard_to_split",
    "filter_measurements": "filters.filter_measurements",
    "filter_subjects": "filters.filter_subjects",
    "reorder_measurements": "transforms.reorder_measurements",
    "add_time_derived_measurements": "transforms.add_time_derived_measurements",
    "extract_values": "transforms.extract_values",
    "normalization": "transforms.normalization",
    "occlude_outliers": "transforms.occlude_outliers",
    "tokenization": "transforms.tokenization",
    "tensorization": "transforms.tensorization",
}
"""Stages and their modules, below this package, in the order of the documentation."""

EXTRACT_PREFIX, TRANSFORM_PREFIX = "MEDS_extract-", "MEDS_transform-"
PREFIXES = (EXTRACT_PREFIX, TRANSFORM_PREFIX)
RUNNER = "runner"
PLUGINS = "MEDS_transforms.stages"
"""The entry-point group in which other packages name their stages: `name = "package.module"`."""


def is_extraction(module: str) -> bool:
    """Whether a module of the package is of a stage of the extraction."""
    return ".extract." in f".{module}"


def script_of(stage: str) -> str:
    """The name of the console script of one of the package's stages.

    >>> script_of("shard_events"), script_of("normalization")
    ('MEDS_extract-shard_events', 'MEDS_transform-normalization')
    """
    return f"{EXTRACT_PREFIX if is_extraction(STAGES[stage]) else TRANSFORM_PREFIX}{stage}"


def module_of(stage: str) -> str | None:
    """The module of a stage, of this package or of another one; None for a stage that nobody has registered.

    >>> module_of("shard_events")
    'MEDS_transforms.extract.shard_events'
    """
    if stage in STAGES:
        return f"{__name__.partition('.')[0]}.{STAGES[stage]}"
    found = [entry.value for entry in entry_points(group=PLUGINS) if entry.name == stage]
    return found[0] if found else None


def plugin_stages() -> list[str]:
    """The names of the stages of other packages."""
    return sorted(entry.name for entry in entry_points(group=PLUGINS))
