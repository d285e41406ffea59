"""What the catalogue says about parts of recipes, and the commands it makes of them."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from benchd.catalog import CATALOG, OWN_KINDS
from benchd.catalog.kinds import Parameter, word
from benchd.core.payload import Sh
from benchd.core.spec import Client, HealthCheck, JobSpec, Role, Service, TargetRef

TARGET = TargetRef(name="redis")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$(rm -rf /)", "$(rm -rf /)"),
        ("$UNKNOWN", "$UNKNOWN"),
        ("$BENCHD_PORT", Sh('"${BENCHD_PORT}"')),
        ("--port=$BENCHD_PORT", Sh('--port="${BENCHD_PORT}"')),
        ("${BENCHD_HOST}:$BENCHD_PORT_1/x y", Sh('"${BENCHD_HOST}":"${BENCHD_PORT_1}"' + "'/x y'")),
        ("$HOME/$(id)", Sh('"${HOME}"' + "'/$(id)'")),
        ("'\"$BENCHD_PORT;id", Sh("''\"'\"'\"'" + '"${BENCHD_PORT}"' + "';id'")),
    ],
)
def test_word_leaves_only_known_variables_to_the_shell(text: str, expected: str | Sh) -> None:
    """Known variables are filled in by the shell, everything else reaches the program as it is."""
    assert word(text) == expected


@pytest.mark.parametrize(
    ("part", "complaints"),
    [
        (Service(name="redis"), []),
        (Service(name="cache", kind="redis"), []),
        (Client(name="b", kind="redis-benchmark", target_service=TARGET), []),
        (Client(name="c", kind="generic", command="true"), []),
        (
            Service(name="redsi"),
            [
                (
                    ("name",),
                    (
                        "no kind of service is called 'redsi'; did you mean 'redis'?; set `kind` "
                        f"when the name is not a kind; there are: {', '.join(CATALOG.services)}; "
                        f"{OWN_KINDS}"
                    ),
                )
            ],
        ),
        (
            Service(name="a", kind="redis-benchmark"),
            [(("kind",), "'redis-benchmark' is a kind of client: write it under `client:`")],
        ),
        (
            Service(name="cache", kind="redsi", parameters={"maxmemry": "1gb"}),
            [
                (
                    ("kind",),
                    (
                        "no kind of service is called 'redsi'; did you mean 'redis'?; there are: "
                        f"{', '.join(CATALOG.services)}; {OWN_KINDS}"
                    ),
                ),
                (
                    ("parameters", "maxmemry"),
                    (
                        "kind 'redis' has no such parameter; did you mean 'maxmemory'?; it has: "
                        "persistence, appendfsync, maxmemory, maxmemory_policy, io_threads"
                    ),
                ),
            ],
        ),
        (
            Service(name="redis", parameters={"maxmemry": "1gb"}),
            [
                (
                    ("parameters", "maxmemry"),
                    (
                        "kind 'redis' has no such parameter; did you mean 'maxmemory'?; it has: "
                        "persistence, appendfsync, maxmemory, maxmemory_policy, io_threads"
                    ),
                )
            ],
        ),
        (
            Client(name="redis-benchmark"),
            [
                (
                    ("target_service",),
                    "missing: a client of kind 'redis-benchmark' measures a service; name it here",
                )
            ],
        ),
        (
            Service(name="generic"),
            [
                (
                    ("command",),
                    "missing: kind 'generic' runs what you say here (generic says nothing)",
                )
            ],
        ),
        (
            Service(name="generic", command="a 'b"),
            [(("command",), "cannot be split into words: no closing quotation")],
        ),
        (
            Service(name="redis", environment={"REDIS_PERSISTENCE": "aov"}),
            [
                (
                    ("environment", "REDIS_PERSISTENCE"),
                    "'aov' is not one of none, aof, rdb, both; did you mean 'aof'?",
                )
            ],
        ),
        (
            Service(name="redis", args=("--save", "", "--requirepass=hunter2")),
            [
                (
                    ("args", 2),
                    (
                        "--requirepass would show its value to every user of the node; instead, "
                        "write secrets: {REDIS_PASSWORD: {generate: 24}}"
                    ),
                )
            ],
        ),
        (
            Service(name="sim-llm", parameters={"jitter": 0.5}),
            [
                (
                    ("parameters", "jitter"),
                    "a constant distribution has none: use normal or lognormal",
                )
            ],
        ),
        (
            Service(name="redis", health_check=HealthCheck(endpoint="/x")),
            [
                (
                    ("health_check", "endpoint"),
                    (
                        "a check of type redis asks the service's first port: remove this, or say "
                        "`type: http`"
                    ),
                )
            ],
        ),
        (Service(name="sim-llm", health_check=HealthCheck(endpoint="/v1/models")), []),
        (
            Service(name="sim-llm", health_check=HealthCheck(type="http", endpoint="https://a/")),
            [
                (
                    ("health_check", "endpoint"),
                    "https:// is not supported: write http://localhost/path or only the path",
                ),
                (
                    ("health_check", "endpoint"),
                    "a check asks the service itself, not 'a': write only the path",
                ),
            ],
        ),
        (
            Service(name="redis", health_check=HealthCheck(type="log")),
            [
                (
                    ("health_check", "endpoint"),
                    "missing: a check of type log needs the regular expression here",
                )
            ],
        ),
    ],
)
def test_complaints(part: Service | Client, complaints: list[Any]) -> None:
    """Everything wrong with a part is said, with its place and what would be right."""
    assert CATALOG.check(part) == complaints


def test_all_complaints_at_once() -> None:
    """A part with several mistakes gets them all."""
    part = Client(
        name="llm-load", parameters={"concurency": 1, "requests": 0, "api": "openai", "model": 7}
    )
    places = [place for place, _ in CATALOG.check(part)]
    assert places == [
        ("parameters", "concurency"),
        ("parameters", "requests"),
        ("parameters", "api"),
        ("parameters", "model"),
        ("target_service",),
    ]


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ({"type": "log", "endpoint": "ready ("}, "'ready (' is no regular expression: "),
        ({"type": "log", "endpoint": "[a-z"}, "'[a-z' is no regular expression: "),
        ({"type": "log", "endpoint": "^[[:alpha:]]+ ready{,3}$"}, None),
        ({"type": "log", "endpoint": "*ready"}, None),
        ({"type": "tcp", "interval": 0.0}, "the service would be asked without a pause: at least"),
        ({"type": "tcp", "timeout": 0.0}, "nobody answers in so short a time: at least 0.01 s"),
    ],
)
def test_a_check_that_can_never_pass_is_refused(check: dict[str, Any], said: str | None) -> None:
    """Nor is one taken that would not leave the service alone."""
    found = CATALOG.check(Service(name="redis", health_check=HealthCheck(**check)))
    assert (said is not None) == bool(found)
    assert said is None or found[0][1].startswith(said)


def test_a_service_cannot_have_one_port_twice() -> None:
    """Two programs cannot listen on it, and the job would say that somebody else does."""
    assert [] == CATALOG.check(Service(name="loki", ports=("auto", "auto")))
    expected = [(("ports",), "3100 stands there 2 times")]
    assert expected == CATALOG.check(Service(name="loki", ports=(3100, 3100)))


@pytest.mark.parametrize(
    ("parameter", "value", "complaint"),
    [
        ({"type": "int"}, 1, None),
        ({"type": "int"}, True, "True is not a whole number"),
        ({"type": "int"}, 1.5, "1.5 is not a whole number"),
        ({"type": "int", "minimum": 1}, 0, "0 is too small: at least 1"),
        ({"type": "int", "maximum": 9, "unit": "s"}, 10, "10 is too large: at most 9 s"),
        ({"type": "float"}, 3, None),
        ({"type": "float", "minimum": 0}, float("nan"), "nan is too small: at least 0"),
        ({"type": "str"}, 7, '7 is not text (quote it: "7")'),
        ({"type": "str", "pattern": "[a-z]+"}, "A", "'A' does not look right: what it is"),
        (
            {"type": "str", "choices": ("aof", "rdb")},
            "aov",
            "'aov' is not one of aof, rdb; did you mean 'aof'?",
        ),
        ({"type": "bool"}, 1, "1 is not true or false"),
    ],
)
def test_parameter_values(parameter: dict[str, Any], value: Any, complaint: str | None) -> None:
    """A value of the wrong type or out of bounds is refused with what would be right."""
    made = Parameter(name="p", default=None, doc="what it is", **parameter)
    assert made.complaint(value) == complaint


@pytest.mark.parametrize("kind", [*CATALOG.services.values(), *CATALOG.clients.values()])
def test_defaults_are_allowed(kind: Any) -> None:
    """Every default is a value that its own parameter accepts, and every parameter is described."""
    wrong = [(p.name, p.complaint(p.default)) for p in kind.parameters if p.default is not None]
    assert [w for w in wrong if w[1]] == []
    assert all(p.doc for p in kind.parameters)


def line(kind: str, role: Role = Role.SERVICE, **over: Any) -> str:
    """Return the command of a job as a shell would read it."""
    book = CATALOG.services if role is Role.SERVICE else CATALOG.clients
    spec = JobSpec(role=role, name="x", kind=kind, **over)
    argv = book[kind].payload(spec).argv
    return " ".join(a.text if isinstance(a, Sh) else shlex.quote(a) for a in argv)


@pytest.mark.parametrize(
    ("environment", "parameters", "expected"),
    [
        ({}, {}, "--save '' --appendonly no"),
        ({"REDIS_PERSISTENCE": "aof"}, {}, "--save '' --appendonly yes"),
        ({"REDIS_PERSISTENCE": "rdb"}, {}, "--save 60 10000 --appendonly no"),
        ({}, {"persistence": "both"}, "--save 60 10000 --appendonly yes"),
        ({}, {"maxmemory": "1gb"}, "--maxmemory 1gb"),
        ({}, {"maxmemory_policy": "allkeys-lru"}, "--maxmemory-policy allkeys-lru"),
    ],
)
def test_redis_options(
    environment: dict[str, str], parameters: dict[str, Any], expected: str
) -> None:
    """Persistence and memory of Redis follow the environment and the parameters."""
    assert expected in line("redis", environment=environment, parameters=parameters)


def test_redis_listens_for_other_nodes() -> None:
    """Redis takes port and address that others are told, and keeps its data where jobs do."""
    expected = (
        'redis-server --port "$BENCHD_PORT" --bind "$BENCHD_BIND" --protected-mode no '
        '--daemonize no --dir "$BENCHD_DATA"'
    )
    assert line("redis").startswith(expected)


def test_command_and_args_change_the_program() -> None:
    """``command`` replaces the program of a kind, ``args`` come last."""
    made = line("redis", command="valkey-server", args=("--databases", "2"))
    assert made.startswith("valkey-server --port")
    assert made.endswith("--databases 2")


def test_generic_runs_what_the_user_says() -> None:
    """A generic kind runs the command, split into words, with the known variables filled in."""
    made = line("generic", command="python3 -m http.server", args=("$BENCHD_PORT", "a b"))
    assert made == "python3 -m http.server \"${BENCHD_PORT}\" 'a b'"


def test_sim_llm_ships_itself() -> None:
    """The synthetic server is sent to the cluster and gets its port from the job."""
    spec = JobSpec(role=Role.SERVICE, name="x", kind="sim-llm", parameters={"ttft_ms": 40.0})
    payload = CATALOG.services["sim-llm"].payload(spec)
    assert payload.ship == ("llm",)
    made = line("sim-llm", parameters={"ttft_ms": 40.0})
    start = 'python3 "$BENCHD_SHIP_LLM" --host "$BENCHD_BIND" --port "$BENCHD_PORT" --model sim-llm'
    assert made.startswith(f"{start} --ttft-ms 40.0 --tpot-ms 10.0")


def test_llm_load_honours_duration_and_flags() -> None:
    """The load generator gets every parameter that is set, and the duration of the recipe."""
    parameters = {"concurrency": 4, "ignore_eos": True, "warmup": 0}
    made = line("llm-load", Role.CLIENT, parameters=parameters, duration=30)
    assert '--url "$BENCHD_TARGET_URLS" --out "$BENCHD_RESULT_DIR"' in made
    assert "--requests" not in made
    for wanted in ("--concurrency=4", "--warmup=0", "--ignore-eos", "--duration=30"):
        assert wanted in made


def test_redis_benchmark_is_wrapped() -> None:
    """redis-benchmark runs inside a script that asks the target first and has a hard limit."""
    made = line("redis-benchmark", Role.CLIENT, parameters={"pipeline": 16, "timeout": 60})
    start = 'sh "$JOB/redis-benchmark.sh" "$BENCHD_TARGET_HOST" "$BENCHD_TARGET_PORT" '
    assert made.startswith(f'{start}"$BENCHD_RESULT_DIR" 60 auto -h')
    assert "-P 16 -r 1000000 -t set,get" in made


@pytest.mark.parametrize("name", ["ollama", "vllm", "triton", "mysql", "postgresql"])
def test_a_kind_that_prepares_first_is_given_time(name: str) -> None:
    """While a model comes or data is made, unanswered probes do not use up the retries."""
    check = CATALOG.services[name].check
    assert check.start_period >= check.retries * check.interval
