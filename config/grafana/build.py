"""Write the Grafana dashboards beside this file: ``python config/grafana/build.py [--check]``.

A dashboard is a list of panels in words; the JSON is derived. With ``--check`` nothing is written
and the exit status is 1 when a file is not what this program would write.
"""

# ruff: noqa: INP001 - a program beside its product, not part of a package

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from panels import ROWS

from benchd.catalog.dashboard import dashboard, variable
from benchd.catalog.services.grafana_panels import services_dashboard

HERE = Path(__file__).resolve().parent


def _benchd() -> dict[str, Any]:
    return dashboard(
        uid="benchd",
        title="benchd",
        about="Written by config/grafana/build.py; change that file, not this one.",
        rows=ROWS,
        variables=[variable("cluster", "Cluster", "benchd_slurm_budget_tokens", "cluster")],
    )


def main() -> int:
    """Write, or check, every dashboard."""
    stale = 0
    for made in (_benchd(), services_dashboard()):
        path = HERE / "dashboards" / f"{made['uid']}.json"
        text = json.dumps(made, indent=1) + "\n"
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            print(f"{path} is not what {Path(__file__).name} writes; run it", file=sys.stderr)
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
