"""Real databases and their load generators, run by their own batch scripts, without Slurm."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from benchd.catalog import CATALOG
from benchd.core.model import Endpoint, Verdict
from benchd.core.results import Severity
from benchd.core.spec import HealthCheck, JobSpec, Role
from slurm.lease import fast_dir
from support.node import until
from support.payloads import Done, Up, client, ended, look, service
from support.watching import Watch

# Quotes, a backslash and a dollar sign: what a password may have in it, and SQL and shell may not.
ROOT = "CANARY-r'o\"o\\t$x"
TICKET = "CANARYticket0123456789"
MYSQL = {"MYSQL_ROOT_PASSWORD": ROOT, "BENCHD_TICKET": TICKET}
POSTGRES = {"POSTGRES_PASSWORD": ROOT, "BENCHD_TICKET": TICKET}
SMALL: Mapping[str, Any] = {"tables": 1, "table_size": 500, "threads": 2, "warmup": 0}


@pytest.fixture
def home() -> Iterator[Path]:
    """Return a directory in memory: new databases wait for the disk, and this machine has one."""
    with tempfile.TemporaryDirectory(prefix="benchd-databases-", dir=fast_dir()) as name:
        Path(name).chmod(0o711)  # PostgreSQL runs as another user where this one is root
        yield Path(name)


def errors(done: Done) -> dict[str, str]:
    """Return what is doubtful about a measurement."""
    flags = done.measured.flags
    return {flag.code: flag.detail for flag in flags if flag.severity is not Severity.INFO}


def agrees(done: Done, counter: str, least: int | None) -> None:
    """See that the server was asked, and has counted what the client says it did."""
    delta = done.measured.server_metrics["delta"]
    assert isinstance(delta, dict)
    grown = delta[counter]
    assert isinstance(grown, float)
    assert least
    assert least <= grown < least * 1.02 + 500  # what logging in, looking and filling ask
    assert "not_cross_checked" not in {flag.code for flag in done.measured.flags}
    assert done.measured.client["source"] == "host"
    assert done.measured.client["tool_version"]


@pytest.mark.real("mariadb", "sysbench")
def test_mysql_is_measured_and_no_password_is_seen(home: Path) -> None:
    """Database, user and init_script are there, and neither ps nor a log has shown a password."""
    watch = Watch(words=(b"CANARY",))
    with (
        watch.looking(),
        service(
            home,
            "mysql",
            secrets={**MYSQL, "MYSQL_PASSWORD": "CANARY-app"},
            environment={"MYSQL_DATABASE": "shop", "MYSQL_USER": "app"},
            init_script="CREATE TABLE t (a INT);\nINSERT INTO t VALUES (41), (1);\n",
        ) as up,
    ):
        done = client(home, "sysbench", up, duration=1, parameters=dict(SMALL))
        slap = client(home, "mysqlslap", up, parameters={"queries": 100, "iterations": 1})
        disturbed = beside(home, up)
        sums = {
            user: mysql(up.host, up.port, user, password, "SELECT SUM(a) FROM shop.t")
            for user, password in (("app", "CANARY-app"), ("benchd", TICKET), ("app", "wrong"))
            if password != "wrong"
        }
        wrong = mysql(up.host, up.port, "root", ROOT, "SELECT 1")
        left = [path.name for path in up.job.rglob("*.sql")]
    assert (done.status, errors(done)) == (0, {}), done.said
    assert (slap.status, errors(slap)) == (0, {}), slap.said
    agrees(done, "Questions", 20 * (done.measured.counts.ok or 0))
    agrees(slap, "Questions", slap.measured.counts.ok)
    assert disturbed.status == 0
    assert list(errors(disturbed)) == ["counter_mismatch"]
    assert sums["app"] == "42"
    assert "denied" in sums["benchd"]
    assert "denied" in wrong  # root is there for its own node alone
    assert set() == watch.seen
    assert {"mariadbd", "sysbench", "mariadb-slap"} <= watch.looked_at
    assert "CANARY" not in up.said() + done.said + slap.said
    assert left == ["init.sql"]
    kept = [p for p in up.job.parent.rglob("*") if p.is_file() and b"CANARY" in p.read_bytes()]
    assert [path for path in kept if "data" not in path.parts] == []


def beside(home: Path, up: Up) -> Done:
    """Run sysbench while somebody else asks as well."""
    before = set(home.rglob("started.txt"))
    with ThreadPoolExecutor() as pool:
        running = pool.submit(client, home, "sysbench", up, duration=2, parameters=dict(SMALL))
        until(lambda: running.done() or set(home.rglob("started.txt")) > before)
        while not running.done():
            mysql(up.host, up.port, "benchd", TICKET, "DO 1;" * 5_000)
        return running.result()


def mysql(host: str, port: int, user: str, password: str, query: str) -> str:
    """Return what a query answers, or how it was refused."""
    done = subprocess.run(
        [
            "mariadb",
            "--no-defaults",
            f"-h{host}",
            f"-P{port}",
            f"-u{user}",
            "-N",
            "-B",
            "-e",
            query,
        ],
        env={"MYSQL_PWD": password},
        capture_output=True,
        text=True,
        check=False,
    )
    return (done.stdout or done.stderr).strip()


@pytest.mark.real("mariadb")
def test_mysql_takes_a_recipes_own_directories(home: Path) -> None:
    """``command`` and ``args`` of a recipe hold, and a database that is there is used again."""
    args = (f"--datadir={home}/own", f"--socket={home}/own.sock", "--max-connections=17")
    for query, expected in (("CREATE DATABASE kept", ""), ("SHOW DATABASES LIKE 'kept'", "kept")):
        with service(home, "mysql", secrets=MYSQL, command="mysqld", args=args) as up:
            said = subprocess.run(
                [
                    "mariadb",
                    "--no-defaults",
                    f"-S{home}/own.sock",
                    "-uroot",
                    "-NB",
                    "-e",
                    query,
                ],
                env={"MYSQL_PWD": ROOT},
                capture_output=True,
                text=True,
                check=False,
            )
            most = mysql(up.host, up.port, "benchd", TICKET, "SELECT @@max_connections")
        assert (said.stdout.strip(), said.stderr, most) == (expected, "", "17")


@pytest.mark.real("mariadb")
@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"init_script": "CREATE TABLE;"}, r"benchd: init_script failed; what the server says"),
        ({"command": "no-such-mysqld"}, r"benchd: no-such-mysqld is not here: leave command out"),
        ({"args": ("--datadir=.",)}, r"benchd: \. is not empty and holds no database"),
    ],
)
def test_a_mysql_that_cannot_be_says_why(home: Path, over: dict[str, Any], said: str) -> None:
    """A mistake ends the job with a sentence, and it never counts as ready."""
    status, text, published = ended(home, "mysql", secrets=MYSQL, **over)
    assert status not in (0, None)
    assert re.search(said, text), text
    assert not published


@pytest.mark.real("mariadb", "sysbench")
@pytest.mark.parametrize(
    ("parameters", "secrets", "status", "said"),
    [
        ({}, {"BENCHD_TICKET": "wrong"}, 1, "benchd: reaching the database failed with status"),
        ({"timeout": 1, "warmup": 60}, None, 124, "benchd: the warm-up was stopped after 1 s"),
    ],
)
def test_a_sysbench_that_cannot_says_why(
    home: Path, parameters: dict[str, Any], secrets: Any, status: int, said: str
) -> None:
    """A wrong password and a phase that takes too long end it with a reason: nothing is valid."""
    with service(home, "mysql", secrets=MYSQL) as up:
        up.secrets.update(secrets or {})
        done = client(home, "sysbench", up, parameters={**SMALL, **parameters})
    assert done.status == status
    assert said in done.said
    assert "no_result" in errors(done)
    assert not list(home.rglob("sysbench.conf"))


@pytest.mark.real("postgresql")
def test_postgresql_is_measured_and_no_password_is_seen(home: Path) -> None:
    """Also where the job is root, which PostgreSQL refuses to be; ps and logs show no password."""
    watch = Watch(words=(b"CANARY",))
    with (
        watch.looking(),
        service(
            home,
            "postgresql",
            secrets=POSTGRES,
            storage="local",
            environment={"POSTGRES_DB": "my shop", "POSTGRES_USER": "admin"},
            parameters={"max_connections": 20, "fsync": False},
            init_script="CREATE TABLE t (a INT);",
        ) as up,
    ):
        done = client(
            home,
            "pgbench",
            up,
            duration=1,
            parameters={"scale": 1, "clients": 2, "warmup": 0, "script": "select-only"},
        )
        during = len(list(home.glob("benchd-*")))
    assert (done.status, errors(done)) == (0, {}), done.said
    agrees(done, "xact_commit", done.measured.counts.ok)
    assert set() == watch.seen
    assert {"postgres", "pgbench", "initdb"} <= watch.looked_at
    assert "CANARY" not in up.said() + done.said
    assert "received fast shutdown request" in up.said()
    assert (during, list(home.glob("benchd-*"))) == (1, [])  # its data, on a disk of the node


@pytest.mark.real("postgresql", "root")
def test_root_is_told_where_postgresql_can_be(home: Path) -> None:
    """As root, in a directory that only root can enter, it says what to write."""
    status, text, published = ended(home, "postgresql", secrets=POSTGRES)
    assert (status, published) == (1, False)
    assert "write storage: local" in text


@pytest.mark.real("mariadb", "postgresql")
def test_a_health_check_shuts_nobody_out(home: Path) -> None:
    """After more looks than MySQL forgives by itself it is still good, and PostgreSQL as well."""
    with (
        service(home, "mysql", secrets=MYSQL) as mysql_up,
        service(home, "postgresql", secrets=POSTGRES, storage="local") as postgres_up,
    ):
        for kind, up in (("mysql", mysql_up), ("postgres", postgres_up)):
            there = Endpoint(host=up.host, ports=up.ports, slurm_id="1", generation=0)
            found = {look(there, HealthCheck(type=kind))[0] for _ in range(120)}
            assert found == {Verdict.GOOD}


@pytest.mark.real("shellcheck")
@pytest.mark.parametrize(
    "kind", ["mysql", "postgresql", "sysbench", "mysqlslap", "pgbench", "memtier"]
)
def test_scripts_are_clean_shell(kind: str) -> None:
    """What a kind brings along is POSIX sh without a complaint from shellcheck."""
    kinds: Mapping[str, Any] = {**CATALOG.services, **CATALOG.clients}
    role = Role.SERVICE if kind in CATALOG.services else Role.CLIENT
    payload = kinds[kind].payload(JobSpec(role=role, name=kind, kind=kind))
    text = payload.files[f"{kind}.sh"]
    command = ("shellcheck", "-s", "sh", "-")
    done = subprocess.run(command, input=text, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
