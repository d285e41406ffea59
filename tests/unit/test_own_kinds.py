"""Kinds from files and plug-ins: what they become, and what is said of bad ones."""

from __future__ import annotations

import subprocess
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from benchd import kindbook
from benchd.catalog import CATALOG
from benchd.catalog.faults import faults
from benchd.catalog.kinds import Parameter, ServiceKind
from benchd.catalog.own import read_kind
from benchd.catalog.schema import schema
from benchd.config import RuntimeSettings
from benchd.core.payload import Payload, Sh
from benchd.core.script import render
from benchd.core.spec import JobSpec, Role
from benchd.errors import ConfigError, UserError

WEAVIATE = b"""\
role: service
name: weaviate
summary: Weaviate, a vector database
image: docker://semitechnologies/weaviate:1.27.0
command: weaviate --host {address} --port {port} --scheme http
options:
  query_limit: --query-limit={query_limit}
  debug: --log-level debug
environment:
  PERSISTENCE_DATA_PATH: "{data}"
  NOTE: "{{literal}} $(id)"
files:
  conf/node.json: |
    {{"grpc": {port_1}, "limit": {max_gb}}}
before:
  - mkdir -p {data}/raft
parameters:
  query_limit: {type: int, minimum: 1, doc: results of a query}
  max_gb: {type: int, default: 4, unit: GB, doc: memory it may use}
  debug: {type: bool, default: false, doc: say more}
version: weaviate --version
ports: [auto, auto]
health_check: {type: http, endpoint: /v1/.well-known/ready}
metrics: {port: 1}
"""
CLIENT = b"""\
role: client
name: vector-bench
summary: a benchmark of our group
command: python3 bench.py --url {target_url} --out {result}/metrics.json
default_for: [weaviate]
"""


def _spec(role: Role = Role.SERVICE, **said: object) -> JobSpec:
    return JobSpec.model_validate({"role": role, "name": "w", "kind": "w", **said}, strict=False)


def test_a_file_says_what_runs() -> None:
    """Places become variables of the script, parameters become text, and the rest stays quoted."""
    kind = read_kind(WEAVIATE, "weaviate.yaml")
    assert isinstance(kind, ServiceKind)
    payload = kind.payload(_spec(parameters={"query_limit": 10, "debug": True}, args=("--x",)))
    assert payload.argv == (
        "weaviate",
        "--host",
        Sh('"${BENCHD_HOST_IP}"'),
        "--port",
        Sh('"${BENCHD_PORT}"'),
        "--scheme",
        "http",
        "--query-limit=10",
        "--log-level",
        "debug",
        "--x",
    )
    assert payload.environment == {
        "PERSISTENCE_DATA_PATH": Sh('"${BENCHD_DATA}"'),
        "NOTE": "{literal} $(id)",
    }
    assert payload.files == {
        "conf/node.json": Sh("""'{"grpc": '"${BENCHD_PORT_1}"', "limit": 4}\n'""")
    }
    assert payload.before[0].argv == ("mkdir", "-p", Sh('"${BENCHD_DATA}"/raft'))
    assert (kind.check.endpoint, kind.metrics.port if kind.metrics else None) == (
        "/v1/.well-known/ready",
        1,
    )


def test_an_option_without_a_value_is_left_out() -> None:
    """A parameter that has no value, or is false, adds nothing to the command."""
    kind = read_kind(WEAVIATE, "weaviate.yaml")
    assert kind.payload(_spec()).argv[-2:] == ("--scheme", "http")


def test_the_script_of_an_own_kind_is_a_script(tmp_path: Path) -> None:
    """Bash takes what a kind from a file becomes."""
    kind = read_kind(WEAVIATE, "weaviate.yaml")
    spec = _spec(ports=("auto", "auto"))
    text = render(spec, "a-b-s-w-p0r0-0-a1", kind.payload(spec), RuntimeSettings(), {})
    checked = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=True)
    assert (checked.stderr, '"${BENCHD_PORT_1}"' in text) == ("", True)


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        (
            (b"{port} --scheme", b"{prot} --scheme"),
            (
                "weaviate.yaml:5:10: command: there is no {prot}; there are: query_limit, max_gb, "
                "debug, port, host, address, bind, data, job, port_1 (a brace is written twice)"
            ),
        ),
        (
            (b"--port {port}", b"--port {query_limit}"),
            (
                "weaviate.yaml:5:10: command: {query_limit} may have no value: give it a "
                "default, or use options"
            ),
        ),
        (
            (b"debug: --log", b"debgu: --log"),
            "weaviate.yaml:8:10: options.debgu: there is no parameter debgu",
        ),
        (
            (b"default: 4", b"default: four"),
            "weaviate.yaml:19:11: parameters.max_gb: its default 'four' is not a whole number",
        ),
        (
            (b"metrics: {port: 1}", b"metrics: {port: 2}"),
            "weaviate.yaml:1:1: metrics.port is 2, but there are 2 ports",
        ),
        (
            (b"role: service", b"role: client"),
            "weaviate.yaml:22:8: ports: is about services, and this is a client",
        ),
        (
            (b"summary:", b"sumary:"),
            "weaviate.yaml:3:1: sumary: unknown key; did you mean summary?",
        ),
        (
            (b"command: weaviate", b'command: "we\'aviate"'),
            "weaviate.yaml:5:10: command: cannot be split into words: no closing quotation",
        ),
    ],
)
def test_a_bad_file_is_told_where_and_what(change: tuple[bytes, bytes], mistake: str) -> None:
    """Every mistake in a kind's file has its place, and says what would be right."""
    data = WEAVIATE.replace(*change)
    if b"we'aviate" in data:
        data = data.replace(b" --host {address} --port {port} --scheme http", b"")
    with pytest.raises(ConfigError) as caught:
        read_kind(data, "weaviate.yaml")
    assert mistake in str(caught.value).splitlines()


def _beside(tmp_path: Path, **files: bytes) -> Path:
    folder = tmp_path / "catalog"
    folder.mkdir()
    for name, data in files.items():
        (folder / f"{name}.yaml").write_bytes(data)
    return tmp_path / "benchd.yaml"


def test_files_beside_the_configuration_join_the_catalogue(tmp_path: Path) -> None:
    """What lies in catalog/ is there under its name, and its client is the usual one."""
    book = kindbook.load(_beside(tmp_path, a=WEAVIATE, b=CLIENT), plug_ins=lambda: ())
    usual = book.default_client("weaviate")
    assert (usual.name if usual else None, book.services["redis"]) == (
        "vector-bench",
        CATALOG.services["redis"],
    )


PLUGGED = (
    ServiceKind(name="plugged", summary="from a plug-in", payload=lambda _: Payload(argv=("x",))),
)
BROKEN = ServiceKind(
    name="plugged",
    summary="",
    payload=lambda _: Payload(argv=()),
    parameters=(Parameter(name="a", type="int", default="b", doc=""),),
)
NUMBER = 7
_HERE = "unit.test_own_kinds" if __name__.startswith("unit.") else __name__


def _point(name: str) -> EntryPoint:
    return EntryPoint(name="more", value=f"{_HERE}:{name}", group=kindbook.GROUP)


def test_a_plug_in_joins_the_catalogue() -> None:
    """An installed distribution brings kinds by its entry point."""
    book = kindbook.load(None, plug_ins=lambda: [_point("PLUGGED")])
    assert book.services["plugged"].summary == "from a plug-in"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "BROKEN",
            [
                "kind plugged: the summary is empty: say in one line what it is",
                "kind plugged: parameter a: it has no doc: say what it means",
                "kind plugged: parameter a: its default 'b' is not a whole number",
                (
                    "kind plugged: no script can be made of it: ValueError: a payload needs a "
                    "program: its argv is empty"
                ),
            ],
        ),
        ("NUMBER", ["7 is neither a ServiceKind nor a ClientKind; mend or uninstall it"]),
        (
            "nothing",
            [
                (
                    f"cannot be loaded: AttributeError: module '{_HERE}' has no attribute "
                    "'nothing'; mend or uninstall it"
                )
            ],
        ),
    ],
)
def test_a_bad_plug_in_is_named(name: str, said: list[str]) -> None:
    """What is wrong with a plug-in names the plug-in and what to do."""
    with pytest.raises(UserError) as caught:
        kindbook.load(None, plug_ins=lambda: [_point(name)])
    lines = str(caught.value).splitlines()
    prefix = "plug-in more of an unknown distribution"
    assert [line.removeprefix(f"{prefix}: ").removeprefix(f"{prefix} ") for line in lines][
        : len(said)
    ] == said


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    """A kind of one's own cannot take the name of another."""
    mine = WEAVIATE.replace(b"name: weaviate", b"name: redis")
    config = _beside(tmp_path, a=mine, b=WEAVIATE, c=WEAVIATE)
    with pytest.raises(UserError) as caught:
        kindbook.load(config, plug_ins=lambda: ())
    folder = tmp_path / "catalog"
    assert str(caught.value).splitlines() == [
        f"{folder}/a.yaml: a kind called redis comes from benchd itself: rename it",
        f"{folder}/c.yaml: a kind called weaviate comes from {folder}/b.yaml: rename it",
    ]


def test_a_client_of_no_service_is_refused(tmp_path: Path) -> None:
    """A kind that is the usual client of what there is not was written wrongly."""
    mine = b"{role: client, name: w-load, summary: s, command: w, default_for: [weaviat]}"
    config = _beside(tmp_path, a=mine, b=WEAVIATE)
    with pytest.raises(UserError) as caught:
        kindbook.load(config, plug_ins=lambda: ())
    assert str(caught.value) == (
        f"{tmp_path}/catalog/a.yaml: default_for: no kind of service is called 'weaviat'; "
        "did you mean 'weaviate'?"
    )


@pytest.mark.parametrize(
    "kind", [*CATALOG.services.values(), *CATALOG.clients.values()], ids=lambda kind: kind.name
)
def test_our_own_kinds_have_no_faults(kind: ServiceKind) -> None:
    """What is asked of users' kinds holds for ours."""
    assert faults(kind) == []


def test_the_schema_of_recipes_knows_every_kind(tmp_path: Path) -> None:
    """Editors are told the parameters of a kind, whether it is named by kind or by name."""
    book = kindbook.load(_beside(tmp_path, a=WEAVIATE), plug_ins=lambda: ())
    said = schema("recipe", book)
    rules = {
        rule["if"]["anyOf"][0]["properties"]["kind"]["const"]: rule["then"]["properties"]
        for rule in said["$defs"]["Service"]["allOf"]
    }
    assert (set(rules), rules["weaviate"]["parameters"]["properties"]["query_limit"]) == (
        set(book.services),
        {"type": "integer", "description": "results of a query", "minimum": 1},
    )
