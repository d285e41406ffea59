#!/bin/bash
# The command line of the private Slurm cluster: testbed.sh start|stop|status|ctl|run --help
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
PYTHONPATH=$here/..${PYTHONPATH:+:$PYTHONPATH} exec "${PYTHON:-python3}" -m slurm.command "$@"
