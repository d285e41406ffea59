"""One result of several nodes: their samples are put together, never their numbers."""

import gzip
import json
import os
from typing import Dict, List, Optional

from . import summary
from .nodes import Together, share
from .record import SAMPLES
from .work import Json, Sample, Workload


class Merged:
    """The samples of all nodes on the first one's clock, and what the nodes said of themselves."""

    def __init__(self, together: Together, documents: Dict[int, Json]) -> None:
        self.together = together
        self.documents = documents
        self.samples: List[Sample] = []

    def read(self, workload: Workload) -> None:
        """Read every node's samples, and what else its metrics need."""
        first = self.documents[0]
        for index in sorted(self.documents):
            home = self.together.home(index)
            # from this node's zero to the first one's monotonic clock, by the clock that both know
            shift = _zero(self.documents[index]) - _zero(first) + first["times"]["zero_monotonic"]
            try:
                lines = _lines(home)
            except (OSError, EOFError, ValueError):  # cut short, or not there at all
                if index:
                    del self.documents[index]
                continue
            for line in lines:
                if line["phase"] == "measure":
                    self.samples.append(workload.restored(line, shift, index))
            workload.absorb(home, index == self.together.index)

    @property
    def missing(self) -> List[int]:
        """Return the nodes of which there is nothing."""
        return [index for index in range(self.together.count) if index not in self.documents]

    def scheduled(self, requests: Optional[int]) -> int:
        """Return how many requests there should have been, those of missing nodes included."""
        there = sum(int(document["counts"]["scheduled"]) for document in self.documents.values())
        count = self.together.count
        return there + sum(share(requests or 0, count, index) for index in self.missing)

    def facts(self) -> Json:
        """Return what is worth a doubt: of several nodes, the worst counts."""
        found: Json = {}
        facts = [document["facts"] for document in self.documents.values()]
        for name in ("cpu_share", "loop_lag_p99_ms"):
            values = [f[name] for f in facts if f.get(name) is not None]
            found[name] = max(values) if values else None
        for name in ("resent", "warmup_errors"):
            found[name] = sum(f.get(name) or 0 for f in facts)
        found["nodes_missing"] = len(self.missing)
        found["start_spread_ms"] = self._spread()
        errors = [n["clock_error_ms"] for n in self.nodes() if n["clock_error_ms"] is not None]
        found["clock_error_ms"] = 2 * max(errors) if errors else None  # of one against another
        return found

    def _spread(self) -> Optional[float]:
        """Return the time between the first node's first request and the last node's, in ms."""
        starts = [
            min(s.scheduled for s in self.samples if s.node == index)
            for index in self.documents
            if any(s.node == index for s in self.samples)
        ]
        return (max(starts) - min(starts)) * 1000.0 if len(starts) > 1 else None

    def nodes(self) -> List[Json]:
        """Return a row for each node that left something."""
        rows = []
        for index in sorted(self.documents):
            client = self.documents[index]["client"]
            row = dict(client.get("node") or {}, host=client.get("host"))
            counts = summary.counts([s for s in self.samples if s.node == index], 0)
            row.update(issued=counts["issued"], ok=counts["ok"], errors=counts["errors"])
            rows.append(row)
        return rows

    def errors(self) -> str:
        """Return what went wrong on a node."""
        said = ["node %d: %s" % (i, d["error"]) for i, d in self.documents.items() if d["error"]]
        said += ["node %d left no samples" % index for index in self.missing]
        return "; ".join(said)


def _zero(document: Json) -> float:
    """Return the moment from which a node's samples count, by the file server's clock."""
    node = document["client"].get("node") or {}
    return float(document["times"]["zero_wall"]) - (node.get("clock_offset_ms") or 0.0) / 1000.0


def _lines(home: str) -> List[Json]:
    with gzip.open(os.path.join(home, SAMPLES + ".gz"), "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]
