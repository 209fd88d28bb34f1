#!/usr/bin/env bash
# The demo: raw tables -> a MEDS dataset -> tensors, with the runner. `make demo` calls it. You can also call it with
# another folder, followed by overrides for the extraction:
#
#   examples/demo/run.sh /tmp/demo seed=7
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

folder=${1:-demo}
shift || true

python examples/demo/make_tables.py "$folder/raw"

# Start over each time: otherwise the runner would skip what an earlier call has done.
rm -rf "$folder/cohort" "$folder/tensors"

# NOTE: the inner quotes are for Hydra, in which some characters have a special meaning.
MEDS_transform-runner \
    pipeline_config_fp=configs/extraction.yaml \
    "input_dir='$folder/raw'" \
    "cohort_dir='$folder/cohort'" \
    event_conversion_config_fp=examples/demo/event_cfgs.yaml \
    etl_metadata.dataset_name=demo \
    etl_metadata.dataset_version=1.0 \
    stage_configs.shard_events.row_chunksize=5000 \
    stage_configs.split_and_shard_subjects.n_subjects_per_shard=100 \
    "$@"

MEDS_transform-runner \
    pipeline_config_fp=configs/preprocessing.yaml \
    "input_dir='$folder/cohort'" \
    "cohort_dir='$folder/tensors'" \
    stage_configs.filter_measurements.min_subjects_per_code=5

python examples/demo/show.py "$folder/cohort" "$folder/tensors"
