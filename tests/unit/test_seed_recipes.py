"""Recipes of other projects run unchanged: each of their keys does something, or is answered."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from textwrap import dedent, indent

import pytest

from benchd.core.spec import Recipe, Role
from benchd.errors import RecipeError
from support.script_cases import APPTAINER, HOST
from support.seed_cases import NAMES, OWN, SEEDS, absent, jobs, present, scripts_of, understood


@pytest.mark.parametrize("files", [present, absent], ids=["with-scripts", "without"])
@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_becomes_scripts_that_bash_reads(name: str, files: object) -> None:
    """With the scripts they name, and without: only a script of nobody's is missed."""
    if files is absent and name == OWN:
        with pytest.raises(
            RecipeError, match=r"both.yaml:13:18: client.script.name: own.py is not"
        ):
            understood((SEEDS / name).read_text(), absent, name)
        return
    found = scripts_of(name, present if files is present else absent)
    text = "\n".join(found.values())
    checked = subprocess.run(
        ["bash", "-n"], input=text, text=True, check=False, capture_output=True
    )
    assert (0, "") == (checked.returncode, checked.stderr)
    assert found


SERVICE = """\
service:
  name: redis
  resources: {time: "00:10:00"}
"""
CLIENT = """\
client:
  name: bench
  resources: {time: "00:10:00"}
  target_service: {name: redis, port: 6379}
  script: {name: bench.py, local_path: scripts/}
"""


@dataclass(frozen=True)
class Key:
    """A key of theirs: what is added to which part, and what then stands in the script."""

    of: str
    said: str
    expected: str


KEYS = [
    Key("service", 'container: {docker_source: "docker://redis:7"}', "apptainer exec"),
    Key("service", "container_image: store.sif", "store.sif"),
    Key("service", 'container: {image_path: "/i/x.sif"}', "/i/x.sif"),
    Key(
        "service",
        'container: {image_path: "/i/x.sif", bind_mounts: ["/a:/b"]}',
        "--bind /a:/b",
    ),
    Key("service", "command: valkey-server", "valkey-server"),
    Key("service", 'args: ["--loglevel", "notice"]', "--loglevel notice"),
    Key("service", "resources: {partition: cpu, qos: fast, mem: 4GB}", "#SBATCH --partition=cpu"),
    Key("service", 'resources: {gres: "gpu:1"}', "#SBATCH --gres=gpu:1"),
    Key("service", "environment: {MY_WORD: spoken}", "MY_WORD=spoken"),
    Key("service", "ports: [6380]", "benchd_take 6380"),
    Key("service", "enable_cadvisor: true\ncadvisor_port: 8081", "8081"),
    Key("service", "setup_script: echo is up", "echo is up"),
    Key("client", "duration: 77", 'run-script.sh" 77 '),
    Key("client", "parameters: {num_things: 5}", "--num-things=5"),
    Key("client", "parameters: {a_switch: true}", "--a-switch=true"),
    Key("client", 'parameters: {output_file: "/tmp/o.json"}', '"$BENCHD_RESULT_DIR"/o.json'),
    Key("client", "parameters: {wait_for_service: 9}", 'wait-for-target.sh" tcp'),
    Key("client", 'args: ["${TARGET_SERVICE_HOST}:1"]', '"${BENCHD_TARGET_HOST}":1'),
    Key("client", "environment: {WHO: me}\nargs: ['--who=${WHO}']", "--who=me"),
    Key("client", "command: python3 -u", "python3 -u"),
    Key("client", 'output: {shared_dir: "$SCRATCH"}', '"${SCRATCH:?is not set on this node}"'),
    Key("client", 'output: {file: "/tmp/x.json"}', '--output-file="$BENCHD_RESULT_DIR"/x.json'),
]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.said.partition(":")[0])
def test_a_key_changes_the_script(key: Key) -> None:
    """What it asks for stands there with the key, and not without."""
    plain = SERVICE if key.of == "service" else CLIENT
    lines = [
        line for line in plain.splitlines() if not key.said.startswith(line.split(":")[0].strip())
    ]
    with_key = "\n".join(lines) + "\n" + indent(key.said, "  ") + "\n"
    before, after = (jobs(text, runtime=APPTAINER)[0].script for text in (plain, with_key))
    assert (False, True) == (key.expected in before, key.expected in after)


def client(text: str) -> Recipe:
    """Return the recipe of a client that measures Redis, as it is understood."""
    return understood("client:\n" + indent(dedent(text), "  "), absent).recipe


@pytest.mark.parametrize(
    ("endpoint", "port", "kind", "expected"),
    [
        ("http://localhost:8000/health", 8000, "generic", ("http", "/health")),
        ("http://localhost:9000/health", 8000, "generic", ("http", "http://localhost:9000/health")),
        ("redis://localhost:6379", 6379, "redis", ("redis", None)),
        ("tcp://localhost:6379", 6379, "redis", ("tcp", None)),
        ("mysql://localhost:3306", 3306, "generic", ("mysql", None)),
        ("/ready", 8000, "generic", ("tcp", "/ready")),
    ],
)
def test_the_scheme_of_an_endpoint_is_the_type_of_the_check(
    endpoint: str, port: int, kind: str, expected: tuple[str, str | None]
) -> None:
    """The port of the service itself is left to benchd, so that it may be another one."""
    text = f"service: {{name: web, kind: {kind}, command: x, ports: [{port}], health_check: "
    text += f'{{endpoint: "{endpoint}"}}}}'
    if endpoint.startswith("/"):
        with pytest.raises(RecipeError, match="asks the service's first port: remove this"):
            understood(text)
        return
    service = understood(text).recipe.service
    assert service is not None
    assert service.health_check is not None
    assert expected == (service.health_check.type, service.health_check.endpoint)


def test_a_parametric_recipe_becomes_a_sweep_where_its_script_is_not_there() -> None:
    """Lists in one text are points, and each remark says what was done."""
    done = understood((SEEDS / "client_redis_parametric.yaml").read_text(), absent)
    part = done.recipe.client
    assert part is not None
    assert ("redis-benchmark", "redis-parametric-benchmark") == (part.kind, part.name)
    assert {
        "client.parameters.clients": (1, 10, 50),
        "client.parameters.data_size": (64, 1024),
        "client.parameters.pipeline": (1, 16),
    } == done.recipe.sweep
    assert {"requests": 100000, "tests": "set,get,lpush", "timeout": 14400} == {
        key: value for key, value in part.parameters.items() if key != "wait_for_service"
    }
    said = [remark.what for remark in done.remarks]
    assert "1,10,50 becomes a sweep of clients" in said


def test_a_script_that_is_there_is_run_itself() -> None:
    """Its own parameters stay as they are, also where a text has several values."""
    done = understood((SEEDS / "client_ollama_parametric.yaml").read_text(), present)
    part = done.recipe.client
    assert part is not None
    assert ("script", "1,2,5") == (part.kind, part.parameters["concurrent_requests"])
    assert {} == done.recipe.sweep


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("name: redis-benchmark", "redis-benchmark"),
        ("name: redis_benchmark", "redis-benchmark"),
        ("name: anything\ntarget_service: {name: redis}", "redis-benchmark"),
        ("name: anything\ntarget_service: {name: ollama}", "llm-load"),
        ("name: anything\ncommand: ./mine", "generic"),
        ("name: ollama_benchmark\ntarget_service: {name: ollama}", "llm-load"),
        ("name: anything\nscript: {name: a.py, text: pass}", "script"),
    ],
)
def test_a_client_without_a_kind_gets_one(text: str, kind: str) -> None:
    """From its script, its name, its command, or from what it measures."""
    if "target_service" not in text and "script" not in text and "command" not in text:
        text += "\ntarget_service: {name: redis}"
    part = client(text).client
    assert part is not None
    assert kind == (part.kind or part.name)


def test_a_secret_in_an_argument_does_not_reach_the_command_line() -> None:
    """The script's starter fills it in; where there is no such starter, it is refused."""
    (job,) = jobs((SEEDS / "client_mysql.yaml").read_text())
    assert "'--password=${MYSQL_PASSWORD}'" in job.script
    assert "hardly-secret" not in job.script
    assert job.script.index('start.py" "$JOB/script/mysql_benchmark.py"') > 0
    with pytest.raises(RecipeError, match="PW would be seen in the list of processes"):
        client(
            "name: x\nsecrets: {PW: {generate: 20}}\nargs: ['${PW}']\nscript: {name: a.sh, text: a}"
        )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "services: [{name: a_b, kind: redis}, {name: a-b, kind: redis}]",
            "services[1].name: a-b is used twice",
        ),
        (
            "service: {name: redis, init_script: SELECT 1}",
            "service.init_script: kind 'redis' has no use for it",
        ),
        (
            "client: {name: x, script: {name: ../a.py}}",
            "client.script.name: must be the name of a file, without a directory",
        ),
        (
            "client: {name: x, script: {name: a.py, local_path: ../b}}",
            "local_path is a directory below scripts_dir of the configuration",
        ),
        (
            "client: {name: x, script: {name: a.pl, text: x}}",
            "client.script.name: 'a.pl' is neither .py nor .sh",
        ),
        (
            "client: {name: x, script: {name: a.py, text: x}, parameters: {api_key: y}}",
            "client.parameters.api_key: every user of the node would read it",
        ),
        (
            "client: {name: x, script: {name: a.py, text: '"
            + "x" * 60000
            + "'}}\nrepeat: 600\n"
            + "sweep: {client.parameters.a: [1, 2]}",
            "scripts in all jobs together; at most 64: keep data out of the script",
        ),
        (
            "client: {name: x, kind: script}",
            "client.script: missing: kind 'script' runs the file you name here",
        ),
        (
            "client: {name: x, command: a, target_service: {name: r, health_check_endpoint: 'ftp://x'}}",
            "client.target_service.health_check_endpoint: ftp:// is not known; there are: http",
        ),
        (
            "client: {name: x, kind: generic, command: a, script: {name: a.py, text: x}}",
            "client.script: kind 'generic' runs no script of yours",
        ),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(text: str, said: str) -> None:
    """The message has the place in the recipe and says what to do."""
    with pytest.raises(RecipeError) as caught:
        understood(text)
    assert said in str(caught.value)


def test_names_and_passwords_are_remarked_on() -> None:
    """Its author learns how a recipe was understood, line by line."""
    text = (SEEDS / "service_mysql.yaml").read_text().replace("things (id", "hardly-secret (id")
    said = [remark.render("m.yaml") for remark in understood(text).remarks]
    left_out = "--socket=/db/run/mysqld.sock --bind-address=0.0.0.0 --user=mysql"
    assert f"m.yaml:5:9: service.args: kind mysql says itself what {left_out} would say" in said[0]
    assert "environment.MYSQL_PASSWORD: a secret" in said[2]
    assert "service.init_script: the value of MYSQL_PASSWORD stands here as well" in said[3]


def test_on_the_host_scripts_that_start_containers_are_passed_on() -> None:
    """Without a container of its own the wrapper of redis-benchmark can work."""
    text = (SEEDS / "client_redis.yaml").read_text()
    (job,) = jobs("\n".join(t for t in text.splitlines() if "container" not in t), runtime=HOST)
    assert (Role.CLIENT, "script") == (job.role, job.kind)
    assert "--tests=ping,set,get" in job.script
    assert '--endpoint="$BENCHD_TARGET_HOST":"$BENCHD_TARGET_PORT"' in job.script
