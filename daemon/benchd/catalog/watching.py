"""What is wrong with what a recipe says about monitoring, as far as its kinds tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from benchd.catalog.kinds import Complaint, ServiceKind
from benchd.core.exporters import EXPORTERS
from benchd.core.scraping import Watch
from benchd.core.spec import Monitoring, Service


def complaints(part: Service, kind: ServiceKind) -> Iterator[Complaint]:
    """Yield what is wrong with a service's exporters and with what it watches."""
    yield from _beside(part, kind)
    if kind.watch is None and part.monitoring_targets:
        what = f"kind {kind.name!r} watches nobody: prometheus and grafana do"
        yield ("monitoring_targets",), what
    if isinstance(part, Monitoring) and kind.watch is not Watch.METRICS:
        yield ("kind",), f"{kind.name!r} is no kind that scrapes others: write it under services:"
    if kind.watch is Watch.SOURCES:
        for index, target in enumerate(part.monitoring_targets):
            if target.host is not None or target.port is not None:
                what = "name a service only: where it is, and its port, benchd finds out"
                yield ("monitoring_targets", index), what


def _beside(part: Service, kind: ServiceKind) -> Iterator[Complaint]:
    port = part.cadvisor_port
    if port is not None and not part.enable_cadvisor:
        yield ("cadvisor_port",), "is the port of nothing: write enable_cadvisor: true as well"
    elif port in part.ports:
        yield ("cadvisor_port",), f"{port} stands in ports as well: each program needs its own"
    for name, times in Counter(part.exporters).items():
        meant = EXPORTERS[name].services
        at = ("exporters", part.exporters.index(name))
        if meant and kind.name not in meant:
            yield at, f"{name} understands services of kind {' or '.join(meant)}, not {kind.name}"
        if times > 1:
            yield at, f"{name} stands here {times} times: one exporter sees everything"
