"""Grafana's dashboards: panels in words, in rows, and the JSON that is derived from them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24  # Grafana's grid


@dataclass(frozen=True)
class Panel:
    """One panel: what it shows and why one would look at it."""

    title: str
    about: str
    queries: tuple[tuple[str, str], ...]  # PromQL, legend
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 7
    stacked: bool = False
    words: tuple[tuple[int, str, str], ...] = ()  # value, word, colour: for what is 0 or 1
    limits: tuple[tuple[float | None, str], ...] = ((None, "green"),)


@dataclass(frozen=True)
class Row:
    """A heading over panels."""

    title: str
    panels: tuple[Panel, ...]


def stat(title: str, about: str, query: str, unit: str = "short", **more: Any) -> Panel:
    """Make a panel with one number."""
    queries = ((query, ""),)
    return Panel(title, about, queries, unit, kind="stat", width=3, height=4, **more)


def variable(name: str, label: str, metric: str, by: str) -> dict[str, Any]:
    """Make a menu of the values that a label of a metric has."""
    look = f"label_values({metric}, {by})"
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": look,
        "query": {"query": look, "refId": f"{name}s"},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def dashboard(
    *,
    uid: str,
    title: str,
    about: str,
    rows: Iterable[Row],
    variables: Sequence[dict[str, Any]],
    refresh: str = "15s",
) -> dict[str, Any]:
    """Return a dashboard as Grafana reads it."""
    source = {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "current": {"text": "Prometheus", "value": "benchd-prometheus"},
    }
    return {
        "uid": uid,
        "title": title,
        "description": about,
        "tags": ["benchd"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": refresh,
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source, *variables]},
        "annotations": {"list": []},
        "panels": list(_laid_out(rows)),
    }


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
