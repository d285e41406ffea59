"""Write the Grafana dashboards beside this file: ``python config/grafana/build.py [--check]``.

A dashboard is a list of panels in words; the JSON is derived. With ``--check`` nothing is written
and the exit status is 1 when a file is not what this program would write.
"""

# ruff: noqa: INP001 - a program beside its product, not part of a package

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from panels import ROWS, Panel, Row

HERE = Path(__file__).resolve().parent
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24  # Grafana's grid


def _field_config(panel: Panel) -> dict[str, Any]:
    steps = [{"value": value, "color": colour} for value, colour in panel.limits]
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if panel.words:
        defaults["mappings"] = [
            {
                "type": "value",
                "options": {str(v): {"text": w, "color": c} for v, w, c in panel.words},
            }
        ]
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 40 if panel.stacked else 8,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none"},
        }
    overrides = []
    if "memory" in {legend for _, legend in panel.queries}:
        unit = [{"id": "unit", "value": "bytes"}, {"id": "custom.axisPlacement", "value": "right"}]
        overrides = [{"matcher": {"id": "byName", "options": "memory"}, "properties": unit}]
    return {"defaults": defaults, "overrides": overrides}


def _options(panel: Panel) -> dict[str, Any]:
    last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    if panel.kind == "stat":
        return {"reduceOptions": last, "colorMode": "value", "graphMode": "none"}
    if panel.kind == "bargauge":
        return {"reduceOptions": last, "orientation": "horizontal", "displayMode": "basic"}
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {
            "refId": chr(ord("A") + i),
            "datasource": DATASOURCE,
            "expr": query,
            "legendFormat": legend or "__auto",
            "range": panel.kind == "timeseries",
            "instant": panel.kind != "timeseries",
        }
        for i, (query, legend) in enumerate(panel.queries)
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": _field_config(panel),
        "options": _options(panel),
        "targets": targets,
    }


def _laid_out(rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    number, y = 1, 0
    for row in rows:
        place = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": place,
        }
        number, y, x, height = number + 1, y + 1, 0, 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            place = {"h": panel.height, "w": panel.width, "x": x, "y": y}
            yield _panel(panel, number, place)
            number, x, height = number + 1, x + panel.width, max(height, panel.height)
        y += height


def _variables() -> list[dict[str, Any]]:
    clusters = "label_values(benchd_slurm_budget_tokens, cluster)"
    return [
        {
            "name": "datasource",
            "label": "Prometheus",
            "type": "datasource",
            "query": "prometheus",
            "current": {"text": "Prometheus", "value": "benchd-prometheus"},
        },
        {
            "name": "cluster",
            "label": "Cluster",
            "type": "query",
            "datasource": DATASOURCE,
            "definition": clusters,
            "query": {"query": clusters, "refId": "clusters"},
            "refresh": 2,
            "includeAll": True,
            "allValue": ".*",
            "multi": True,
            "current": {"text": ["All"], "value": ["$__all"]},
        },
    ]


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana reads it."""
    return {
        "uid": "benchd",
        "title": "benchd",
        "description": "Written by config/grafana/build.py; change that file, not this one.",
        "tags": ["benchd"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "15s",
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "panels": list(_laid_out(ROWS)),
    }


def main() -> int:
    """Write, or check, every dashboard."""
    path = HERE / "dashboards" / "benchd.json"
    text = json.dumps(dashboard(), indent=1) + "\n"
    if "--check" in sys.argv[1:]:
        if path.exists() and path.read_text() == text:
            return 0
        print(f"{path} is not what {Path(__file__).name} writes; run it", file=sys.stderr)
        return 1
    path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
