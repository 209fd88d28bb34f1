#!/usr/bin/env bash
# The demo from its beginning: raw tables -> a MEDS dataset -> tensors. `make demo` calls it. You can also call it with
# another folder, followed by settings of both pipelines:
#
#   examples/demo/run.sh /tmp/demo seed=7
#
# The way is that of `MEDS_transforms demo`, which shows each command that it runs, and continues what is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

folder=${1:-demo}
shift || true

if [ "$folder" -ef . ]; then
    echo "error: The demo needs a folder of its own, not that of the repository, whose configs/ it would replace." >&2
    exit 1
fi

# Start over each time, also with the files as they are now in configs/ and examples/.
rm -rf "$folder/raw" "$folder/cohort" "$folder/tensors" "$folder/configs" "$folder/event_cfgs.yaml"

MEDS_transforms demo "$folder" "$@"
