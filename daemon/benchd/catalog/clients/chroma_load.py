"""Searches in Chroma, with the share of the truth that they find."""

from __future__ import annotations

from benchd.catalog import readings
from benchd.catalog.clients.common import RESULT, objectives
from benchd.catalog.clients.own_load import LOAD, TIMEOUT, loads, options, samples
from benchd.catalog.kinds import ClientKind, Parameter, arguments, asks, program
from benchd.core.payload import Payload, Sh
from benchd.core.spec import JobSpec


def _index(name: str, what: str) -> Parameter:
    doc = f"{what}; default: the server's"
    return Parameter(name=name, type="int", default=None, minimum=1, maximum=10_000, doc=doc)


CHROMA_LOAD = (
    Parameter(
        name="vectors",
        type="int",
        default=10_000,
        minimum=1,
        maximum=100_000_000,
        doc="vectors to insert; the client keeps them all: 4 bytes for each number in them",
    ),
    Parameter(
        name="dimension", type="int", default=384, minimum=1, maximum=100_000, doc="of a vector"
    ),
    Parameter(
        name="batch",
        type="int",
        default=500,
        minimum=1,
        maximum=100_000,
        unit="vectors",
        doc="vectors in one insert; the server's own limit holds where it is lower",
    ),
    Parameter(
        name="insert_concurrency",
        type="int",
        default=1,
        minimum=1,
        maximum=1000,
        doc="inserts at once",
    ),
    Parameter(
        name="data",
        type="str",
        default="clustered",
        choices=("clustered", "uniform"),
        doc="clustered: as models make vectors; uniform: the hardest case of a search",
    ),
    Parameter(
        name="clusters",
        type="int",
        default=100,
        minimum=1,
        maximum=100_000,
        doc="clusters of clustered data",
    ),
    Parameter(
        name="k",
        type="int",
        default=10,
        minimum=1,
        maximum=10_000,
        doc="nearest neighbours that a search asks for",
    ),
    Parameter(
        name="space",
        type="str",
        default="l2",
        choices=("l2", "cosine", "ip"),
        doc="how distance is measured",
    ),
    _index("ef_search", "how many candidates a search looks at: recall against latency"),
    _index("ef_construction", "how many candidates the making of the index looks at"),
    _index("max_neighbors", "edges of a node of the index"),
    Parameter(
        name="recall_queries",
        type="int",
        default=50,
        minimum=1,
        maximum=100_000,
        doc="searches that are compared with the truth after the measurement; each costs the "
        "client about 30 ns for each number in all vectors",
    ),
    Parameter(name="seed", type="int", default=0, minimum=0, doc="of vectors and arrivals"),
    Parameter(
        name="keep", type="bool", default=False, doc="leave the collection where it is in the end"
    ),
    *(one for one in LOAD if one.name != "processes"),
    TIMEOUT,
)


def _payload(spec: JobSpec) -> Payload:
    return Payload(
        argv=(
            *program(spec, "python3"),
            *(Sh('"$BENCHD_SHIP_LOAD"'), "chroma", "--url", Sh('"$BENCHD_TARGET_URL"')),
            # The job directory is named by its token, and the collection by it.
            *("--out", RESULT, "--run-id", Sh('"$(basename "$JOB")"')),
            *options(CHROMA_LOAD, spec),
            *arguments(spec),
        ),
        ship=("load",),
    )


KIND = ClientKind(
    name="chroma-load",
    summary="fills a Chroma collection and searches it: latency, throughput and recall at k; part "
    "of benchd",
    payload=_payload,
    parse=readings.load,
    parameters=CHROMA_LOAD,
    default_for=("chroma",),
    extra_check=lambda part: (*loads(part), *objectives(part, "chroma")),
    asks=asks("chroma"),
    samples=samples,
)
