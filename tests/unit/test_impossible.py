"""What cannot be measured is refused before anything is queued: the value, its line, what to do."""

from __future__ import annotations

import time

import pytest

from benchd.catalog import CATALOG
from benchd.catalog.clients.common import OPEN_LOOP, TIMES
from benchd.catalog.kinds import ServiceKind
from benchd.core.numbers import SAMPLES_NEEDED
from benchd.core.recipe import understand
from benchd.core.spec import Client, Service, TargetRef
from benchd.errors import RecipeError
from benchd.ship.load import cli
from benchd.ship.load.chroma import Workload as Chroma
from benchd.ship.load.llm import Workload as Llm
from benchd.ship.load.rag import Workload as Rag
from benchd.ship.load.redis import Workload as Redis
from benchd.ship.load.web import Workload as Web
from benchd.ship.load.work import Workload

REDIS = """\
service: {{name: store, kind: redis}}
client:
  name: bench
  kind: {kind}
  target_service: {{name: store}}
"""
RATES = """\
  duration: 10
  parameters: {load: poisson}
sweep: {client.parameters.rate: [900, 36]}
"""


def refused(kind: str, more: str, service: str = "redis") -> list[str]:
    """Return what is said about a client of a kind, continued by the text: ``line: path: what``."""
    text = REDIS.format(kind=kind).replace("kind: redis}", f"kind: {service}}}") + more
    try:
        understand(text.encode(), "r.yaml", CATALOG)
    except RecipeError as error:
        found = [line.removeprefix("r.yaml:").split(": ", 2) for line in str(error).splitlines()]
        return [f"{where.split(':')[0]}: {path}: {what}" for where, path, what in found]
    return []


@pytest.mark.parametrize(
    ("kind", "more", "expected"),
    [
        (
            "redis-benchmark",
            "  duration: 30\n",
            (
                "6: client.duration: 30 s cannot be kept: kind 'redis-benchmark' knows no time: it "
                "ends after `parameters.requests`; memtier and redis-load measure for a time"
            ),
        ),
        (
            "redis-benchmark",
            "sweep: {client.duration: [30]}\n",
            (
                "6: sweep['client.duration'][0]: 30 s cannot be kept: kind 'redis-benchmark' knows "
                "no time: it ends after `parameters.requests`; memtier and redis-load measure for "
                "a time"
            ),
        ),
        (
            "redis-load",
            "  parameters: {slo: 'tpot_ms<=9, latency_service_ms<=9'}\n",
            (
                "6: client.parameters.slo: tpot_ms is no time of these requests; there are: "
                "latency_service_ms, latency_sched_ms"
            ),
        ),
        (
            "redis-load",
            "sweep: {client.parameters.slo: ['latency_service_ms<=1', 'ttfb_ms<=9']}\n",
            (
                "6: sweep['client.parameters.slo'][1]: ttfb_ms is no time of these requests; there "
                "are: latency_service_ms, latency_sched_ms"
            ),
        ),
        (
            "redis-load",
            "sweep: {client.parameter.keys: [1]}\n",
            (
                "6: sweep['client.parameter.keys']: cannot be swept; what can be: parameters.KEY, "
                "resources.KEY, environment.KEY, duration"
            ),
        ),
    ],
)
def test_one_sentence_says_what_cannot_be(kind: str, more: str, expected: str) -> None:
    """The sentence stands at the value, in the client as in the sweep, and says what can be."""
    assert refused(kind, more) == [expected]


@pytest.mark.parametrize("word", OPEN_LOOP)
@pytest.mark.parametrize(
    ("kind", "instead"),
    [
        ("redis-benchmark", "use kind: redis-load"),
        ("memtier", "use kind: redis-load"),
        ("mysqlslap", "use kind: sysbench"),
        ("vectordbbench", "use kind: chroma-load"),
    ],
)
def test_no_open_loop_of_a_tool_that_has_none(kind: str, instead: str, word: str) -> None:
    """Whatever a schedule is called, the tool that keeps none is not given it."""
    part = Client(
        name="bench",
        kind=kind,
        target_service=TargetRef(name="store"),
        parameters={word: 5},
    )
    ((where, what),) = CATALOG.check(part)
    assert (where, what.startswith("not of this kind: "), instead in what) == (
        ("parameters", word),
        True,
        True,
    )


@pytest.mark.parametrize(
    ("kind", "service", "expected"),
    [
        ("sysbench", "redis", "redis-benchmark, redis-load, memtier"),
        ("redis-load", "mysql", "sysbench, mysqlslap"),
        ("pgbench", "mysql", "sysbench, mysqlslap"),
        ("chroma-load", "qdrant", "http-load"),
        ("llm-load", "postgresql", "pgbench"),
        ("vllm-bench", "chroma", "chroma-load, vectordbbench, http-load"),
    ],
)
def test_a_pair_that_cannot_talk(kind: str, service: str, expected: str) -> None:
    """The sentence says what each speaks, and which kinds can measure the service."""
    (what,) = [each for each in refused(kind, "", service) if "speaks" in each]
    assert what.startswith(f"5: client.target_service.name: kind {kind!r} speaks ")
    assert what.endswith(f": use kind {expected}")


def test_a_parameter_may_be_what_cannot_talk() -> None:
    """llm-load speaks to vLLM, and not in Ollama's words."""
    vllm = Service(name="store", kind="vllm")
    asks = [
        Client(name="bench", kind="llm-load", parameters={"api": api})
        for api in ("ollama-chat", "openai-chat")
    ]
    said, nothing = (CATALOG.cannot_measure(client, vllm) for client in asks)
    assert (said or "").endswith("speaks http and openai: its parameters say so, change them")
    assert nothing is None


def test_services_of_several_parts_have_an_order() -> None:
    """rag-load asks the first for answers, and the second for documents."""
    order = [TargetRef(name="docs"), TargetRef(name="llm")]
    llm, docs = Service(name="llm", kind="sim-llm"), Service(name="docs", kind="chroma")
    wrong = Client(name="bench", kind="rag-load", target_services=tuple(order))
    right = wrong.model_copy(update={"target_services": tuple(reversed(order))})
    said = [
        CATALOG.cannot_measure(client, each) for client in (wrong, right) for each in (llm, docs)
    ]
    advice = "name a service that speaks openai or ollama, then one that speaks chroma"
    assert [each and each.endswith(advice) for each in said] == [True, True, None, None]


def test_a_pair_is_judged_at_every_point() -> None:
    """A swept parameter may be what cannot talk."""
    text = """\
service: {name: store, kind: vllm, parameters: {model: m}}
client: {name: bench, kind: llm-load, target_service: {name: store}}
sweep: {client.parameters.api: [openai-chat, ollama-chat]}
"""
    with pytest.raises(RecipeError, match="speaks ollama, and store, of kind 'vllm', speaks http"):
        understand(text.encode(), "r.yaml", CATALOG)


@pytest.mark.parametrize(
    ("kind", "service"),
    [
        ("generic", Service(name="store", kind="redis")),
        ("sysbench", Service(name="store", kind="generic")),
        ("sysbench", Service(name="store", kind="redis", command="mysqld")),
        ("sysbench", Service(name="store", kind="valkey")),
    ],
)
def test_what_nobody_knows_is_not_refused(kind: str, service: Service) -> None:
    """Commands, services with a command of their own and kinds from files may speak anything."""
    own = ServiceKind(name="valkey", summary="own", payload=CATALOG.services["redis"].payload)
    client = Client(name="bench", kind=kind, target_service=TargetRef(name="store"))
    assert CATALOG.extended([own]).cannot_measure(client, service) is None


@pytest.mark.parametrize(
    ("targets", "is_refused"),
    [
        ((TargetRef(name="store"),), True),
        ((TargetRef(name="store", port=6379),), True),
        ((TargetRef(name="store", port=8001),), False),
        ((TargetRef(name="web"), TargetRef(name="store")), False),
        ((TargetRef(name="store"), TargetRef(name="web")), True),
    ],
)
def test_the_first_target_is_judged_by_its_first_port(
    targets: tuple[TargetRef, ...], is_refused: bool
) -> None:
    """Another port may speak another protocol, and other targets are only waited for."""
    store = Service(name="store", kind="redis", ports=(6379, 8001))
    client = Client(name="bench", kind="http-load", target_services=targets)
    assert (CATALOG.cannot_measure(client, store) is not None) is is_refused


def test_every_usual_client_speaks_to_its_services() -> None:
    """No kind is the usual client of what it cannot measure."""
    for client in CATALOG.clients.values():
        for service in client.default_for:
            part = Client(name="bench", kind=client.name)
            assert CATALOG.cannot_measure(part, Service(name="store", kind=service)) is None


def test_a_million_points_cost_nothing() -> None:
    """Six keys of ten values are refused at the sweep, in the time of their sixty values."""
    keys = ("keys", "value_size", "pipeline", "connections", "seed", "requests")
    values = ", ".join(str(number) for number in range(1, 11))
    swept = "".join(f"  client.parameters.{key}: [{values}]\n" for key in keys)
    began = time.process_time()
    (what,) = refused("redis-load", f"sweep:\n{swept}")
    assert what.startswith("6: sweep: points x repeats x clients = 1000000 x 1 x 1 = 1000000 jobs")
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            "  parameters: {requests: 20}\n",
            (
                "r.yaml:6:26: client.parameters.requests: 20 requests: some percentiles will be "
                "missing from the result: p90 needs 36, p95 needs 72, p99 needs 368"
            ),
        ),
        (
            RATES,
            (
                "r.yaml:7:15: client.parameters.rate: 360 requests: some percentiles will be "
                "missing from the result: p99 needs 368"
            ),
        ),
        (f"  parameters: {{requests: {SAMPLES_NEEDED['99']}}}\n", None),
        ("", None),
    ],
)
def test_too_few_requests_are_a_warning(more: str, expected: str | None) -> None:
    """The run is taken, and its author knows before it what the result will not say."""
    text = REDIS.format(kind="redis-load") + more
    said = [each.render("r.yaml") for each in understand(text.encode(), "r.yaml", CATALOG).remarks]
    assert said == ([] if expected is None else [expected])


def test_a_data_set_has_its_own_lengths() -> None:
    """What would be passed over is refused."""
    said = {"dataset": "/data/prompts.jsonl", "prompt_tokens": 9}
    part = Client(
        name="b", kind="llm-load", target_service=TargetRef(name="llm"), parameters=dict(said)
    )
    assert [where for where, _ in CATALOG.check(part)] == [("parameters", "prompt_tokens")]


@pytest.mark.parametrize(
    ("kind", "parameters", "duration", "expected"),
    [
        ("memtier", {"requests": 2, "threads": 3, "clients": 5}, None, 30),
        ("memtier", {}, 9, None),
        ("redis-benchmark", {"requests": 7}, None, 7),
        ("pgbench", {"rate": 2.5}, 10, 25),
        ("sysbench", {"rate": 2}, None, None),
        ("script", {"requests": 7}, None, None),
        ("http-load", {"load": "gamma", "rate": 2}, 30, 60),
        ("http-load", {"load": "ramp", "rate": 2, "end_rate": 6}, 30, 120),
        ("http-load", {"load": "find-peak", "rate": 2, "slo": "ttfb_ms<=9"}, 30, None),
        ("http-load", {"concurrency": 8}, 30, None),
    ],
)
def test_how_many_requests_a_client_is_told(
    kind: str, parameters: dict[str, int | float | str], duration: int | None, expected: int | None
) -> None:
    """A number, or a rate for a time; what a program of somebody's own means by it is not known."""
    part = Client(name="bench", kind=kind, parameters=dict(parameters), duration=duration)
    assert CATALOG.clients[kind].samples(part) == expected


@pytest.mark.parametrize(
    ("workload", "made"),
    [("llm", Llm), ("rag", Rag), ("http", Web), ("redis", Redis), ("chroma", Chroma)],
)
def test_objectives_are_those_of_the_load_generator(workload: str, made: type[Workload]) -> None:
    """What a recipe may promise is what the requests of that workload have."""
    one: Workload = object.__new__(made)
    one.is_open = True
    assert set(TIMES[workload]) == set(one.quantities())
    assert workload in cli.parser().format_help()
