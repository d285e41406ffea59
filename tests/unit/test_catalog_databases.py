"""Databases: what their greetings mean, what recipes must say, and what load generators print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchd.catalog import CATALOG
from benchd.catalog.checks import Answer, Http, Mysql, Postgres, request, verdict
from benchd.catalog.readings import histogram, mysqlslap, pgbench, sysbench
from benchd.core.model import Endpoint, Verdict
from benchd.core.results import Measured, count_flags
from benchd.core.spec import HealthCheck, JobSpec, Role, Service

DATA = Path(__file__).parents[1] / "data"
HERE = Endpoint(host="n1", ports=(7000,), slurm_id="1", generation=0)


def packet(body: bytes) -> bytes:
    """Return the first packet of a MySQL server."""
    return len(body).to_bytes(3, "little") + b"\0" + body


def refusal(state: str, said: str) -> bytes:
    """Return what PostgreSQL answers when it refuses a login."""
    body = b"".join(f.encode() + b"\0" for f in ("SFATAL", f"C{state}", f"M{said}", ""))
    return b"E" + (len(body) + 4).to_bytes(4, "big") + body


def error(number: int, said: str) -> bytes:
    """Return what MySQL says instead of a greeting."""
    return packet(b"\xff" + number.to_bytes(2, "little") + said.encode())


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        (
            "mysql",
            packet(b"\n5.5.5-10.11.19-MariaDB\0\7\0"),
            (Verdict.GOOD, "MySQL protocol, version 10.11.19-MariaDB"),
        ),
        ("mysql", packet(b"\n8.4.2\0\7\0"), (Verdict.GOOD, "MySQL protocol, version 8.4.2")),
        (
            "mysql",
            error(1129, "Host 'n2' is blocked"),
            (Verdict.BAD, "it lets nobody in: Host 'n2' is blocked (error 1129)"),
        ),
        (
            "mysql",
            error(1040, "Too many connections"),
            (
                Verdict.GOOD,
                "up, but all its connections are in use: Too many connections (error 1040)",
            ),
        ),
        ("mysql", b"", (Verdict.BAD, "it closed the connection without a word")),
        ("mysql", b"+OK\r\n", (Verdict.BAD, "not MySQL: it said '+OK'")),
        ("mysql", packet(b"\xff"), (Verdict.BAD, "not MySQL: it said '????\ufffd'")),
        ("postgres", b"R\0\0\0\x17\0\0\0\nSCRAM", (Verdict.GOOD, "PostgreSQL takes logins")),
        (
            "postgres",
            refusal("57P03", "the database system is starting up"),
            (Verdict.BAD, "it lets nobody in: the database system is starting up (57P03)"),
        ),
        (
            "postgres",
            refusal("53300", "sorry, too many clients already"),
            (
                Verdict.GOOD,
                "up, but all its connections are in use: sorry, too many clients already",
            ),
        ),
        (
            "postgres",
            refusal("28000", "no pg_hba.conf entry"),
            (Verdict.GOOD, "up; it would not let benchd in: no pg_hba.conf entry (28000)"),
        ),
        ("postgres", b"", (Verdict.BAD, "it closed the connection without a word")),
        ("postgres", b"HTTP/1.1 400\r\n", (Verdict.BAD, "not PostgreSQL: it said 'HTTP/1.1 400'")),
    ],
)
def test_first_words(kind: Any, data: bytes, expected: tuple[Verdict, str]) -> None:
    """The first packet of a database server says whether anybody can log in."""
    look = request(HealthCheck(type=kind), HERE)
    assert isinstance(look, Mysql | Postgres)
    assert (look.host, look.port) == ("n1", 7000)
    assert verdict(look, Answer(data=data)) == expected


def test_an_old_heartbeat_is_a_heartbeat() -> None:
    """Recipes that ask Chroma at /api/v1 are told that it is up, as only a newer one answers so."""
    gone = Answer(data=b"HTTP/1.1 410 Gone\r\n\r\n")
    found = [
        verdict(Http(host="n1", port=1, path=path), gone)[0]
        for path in ("/api/v1/heartbeat", "/health")
    ]
    assert found == [Verdict.GOOD, Verdict.BAD]


SECRET = {"MYSQL_ROOT_PASSWORD": {"generate": 24}}


@pytest.mark.parametrize(
    ("part", "places"),
    [
        ({"name": "mysql"}, [("secrets",)]),
        ({"name": "mysql", "secrets": SECRET}, []),
        ({"name": "mysql", "environment": {"MYSQL_ROOT_PASSWORD": "literal"}}, []),
        ({"name": "mysql", "environment": {"MARIADB_ALLOW_EMPTY_ROOT_PASSWORD": "1"}}, []),
        ({"name": "mysql", "environment": {"MYSQL_ALLOW_EMPTY_PASSWORD": "no"}}, [("secrets",)]),
        (
            {"name": "mysql", "secrets": SECRET, "environment": {"MYSQL_USER": "u"}},
            [("environment",)],
        ),
        ({"name": "mysql", "secrets": SECRET, "args": ("--init-file=/x",)}, [("args", 0)]),
        ({"name": "postgresql"}, [("secrets",)]),
        ({"name": "postgresql", "environment": {"POSTGRES_HOST_AUTH_METHOD": "trust"}}, []),
        (
            {
                "name": "postgresql",
                "environment": {"POSTGRES_PASSWORD": "p", "POSTGRES_USER": "benchd"},
            },
            [("environment", "POSTGRES_USER")],
        ),
        (
            {
                "name": "postgresql",
                "environment": {"POSTGRES_PASSWORD": "p", "POSTGRES_USER": 'a"b'},
            },
            [("environment", "POSTGRES_USER")],
        ),
        ({"name": "minio"}, [("secrets",)]),
        ({"name": "minio", "environment": {"MINIO_ROOT_PASSWORD": "12345678"}}, []),
    ],
)
def test_what_a_database_must_be_told(part: dict[str, Any], places: list[Any]) -> None:
    """A server that other nodes reach needs a password, or a word that it is open on purpose."""
    assert [place for place, _ in CATALOG.check(Service.model_validate(part))] == places


@pytest.mark.parametrize(
    ("kind", "args", "expected"),
    [
        ("chroma", (), "chroma run --path DATA/chroma --host BIND --port PORT"),
        (
            "chroma",
            ("run", "--host", "0.0.0.0", "--port", "8000"),
            "chroma run --path DATA/chroma --host 0.0.0.0 --port 8000",
        ),
        ("minio", (), "minio server --address BIND:PORT DATA/minio"),
        (
            "minio",
            ("server", "/data", "--console-address", ":9001"),
            "minio server --address BIND:PORT /data --console-address :9001",
        ),
    ],
)
def test_whole_commands_of_recipes(kind: str, args: tuple[str, ...], expected: str) -> None:
    """A recipe that writes the whole command gets it, with what it left open."""
    spec = JobSpec(role=Role.SERVICE, name=kind, kind=kind, args=args, ports=(8000,))
    words = [getattr(word, "text", word) for word in CATALOG.services[kind].payload(spec).argv]
    said = " ".join(words).replace('"', "").replace("$BENCHD_", "")
    assert said == expected


def spec(kind: str, **parameters: Any) -> JobSpec:
    """Return a client's spec."""
    return JobSpec(role=Role.CLIENT, name="c", kind=kind, parameters=parameters)


def codes(measured: Measured) -> dict[str, str]:
    """Return code -> severity of the flags."""
    assert "counts_mismatch" not in {flag.code for flag in count_flags(measured.counts)}
    return {flag.code: str(flag.severity) for flag in measured.flags}


def status(questions: int) -> bytes:
    """Return what the server counts."""
    lines = ("version\t10.11.19", f"Questions\t{questions}", "Innodb_buffer_pool_reads\t5")
    asked = f"Innodb_buffer_pool_read_requests\t{questions * 10}"
    return "\n".join([*lines, asked, ""]).encode()


def sysbench_files(file: str = "oltp_read_write", **over: bytes) -> dict[str, bytes]:
    """Return what a good run leaves."""
    files = {
        "sysbench.txt": (DATA / f"sysbench-1.0.20-{file}.txt").read_bytes(),
        "status-before.txt": status(1000),
        "status-after.txt": status(86_750),
        "started.txt": b"100.5\n",
        "ended.txt": b"103.5\n",
    }
    named = {name.replace("__", ".").replace("_", "-"): data for name, data in over.items()}
    return {f"result/{name}": data for name, data in (files | named).items()}


def test_sysbench_closed_loop() -> None:
    """Totals are sysbench's, percentiles come from its histogram, seconds from its reports."""
    measured = sysbench(sysbench_files(), spec("sysbench", threads=4))
    assert codes(measured) == {"closed_loop": "info"}
    metrics = measured.metrics
    assert metrics["ops_s"].value == pytest.approx(4287 / 3.0044)
    assert metrics["queries_s"].value == pytest.approx(85740 / 3.0044)
    assert metrics["buffer_pool_hits"].value == 1.0
    latency = metrics["latency_service"]
    assert (latency.n, latency.mean, latency.min, latency.max) == (4287, 2.80, 0.96, 18.59)
    assert latency.percentiles is not None
    assert latency.percentiles["99"] == 5.986  # sysbench's own interpolation says 5.99
    assert (measured.counts.ok, measured.counts.errors) == (4287, 0)
    assert measured.service == {"version": "10.11.19"}
    assert measured.timeline["rows"] == [
        [1, 1454.41, 29129.1, 6.32, 0.0],
        [2, 1432.25, 28662.02, 5.09, 0.0],
        [3, 1394.95, 27904.93, 5.47, 0.0],
    ]


HOOK = (DATA / "sysbench-1.0.20-hook.json").read_bytes()


def test_sysbench_totals_are_those_of_its_hook() -> None:
    """Where its script has written them as numbers, its words have none; one run, two files."""
    files = sysbench_files("hook", sysbench__json=HOOK, status_after__txt=status(1000 + 28_980))
    measured = sysbench(files, spec("sysbench", threads=4))
    assert codes(measured) == {"closed_loop": "info"}
    metrics = measured.metrics
    assert metrics["ops_s"].value == pytest.approx(1449 / 3.07040866)
    assert metrics["queries_s"].value == pytest.approx(28_980 / 3.07040866)
    latency = metrics["latency_service"]
    assert (latency.n, latency.mean, latency.max) == (1449, 8.426252, 138.099476)
    assert latency.percentiles is not None
    assert latency.percentiles["99"] == 45.793
    assert len(measured.timeline["rows"]) == 3
    without = sysbench(sysbench_files("hook"), spec("sysbench"))
    assert codes(without) == {"no_result": "error"}


def test_sysbench_at_a_rate() -> None:
    """With a rate the latencies count from the schedule and are safe against a stalled server."""
    files = sysbench_files("rate", status_after__txt=status(4940))
    measured = sysbench(files, spec("sysbench", rate=100))
    assert codes(measured) == {}
    assert set(measured.metrics) == {"ops_s", "queries_s", "latency_sched", "buffer_pool_hits"}
    assert measured.client["co_safe"] is True
    assert measured.workload["load"] == {"model": "open", "arrival": "poisson", "rate": 100}


TOTALS = (DATA / "sysbench-1.0.20-oltp_read_write.txt").read_bytes()


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ({"sysbench__txt": b""}, {"no_result": "error"}),
        ({"sysbench__txt": b"FATAL: unable to connect\n"}, {"no_result": "error"}),
        ({"sysbench__txt": b"\xff\x00"}, {"no_result": "error"}),
        ({"status_after__txt": b""}, {"closed_loop": "info", "not_cross_checked": "info"}),
        (
            {"status_after__txt": status(50_000)},
            {"closed_loop": "info", "counter_mismatch": "error"},
        ),
        (
            {"status_after__txt": status(99_000)},
            {"closed_loop": "info", "counter_mismatch": "warn"},
        ),
        (
            {
                "sysbench__txt": TOTALS.replace(
                    b"reconnects:                          0", b"reconnects: 3"
                )
            },
            {"closed_loop": "info", "reconnects": "warn"},
        ),
    ],
)
def test_sysbench_flags(over: dict[str, bytes], expected: dict[str, str]) -> None:
    """Whatever makes the numbers doubtful is a flag; nothing done is an error, not a zero."""
    measured = sysbench(sysbench_files(**over), spec("sysbench"))
    assert codes(measured) == expected
    assert bool(measured.metrics) == ("no_result" not in expected)


def test_sysbench_counts_ignored_errors() -> None:
    """A deadlock that sysbench tried again is an error of one attempt."""
    text = TOTALS.replace(b"ignored errors:                      0", b"ignored errors: 13")
    counts = sysbench(sysbench_files(sysbench__txt=text), spec("sysbench")).counts
    assert (counts.scheduled, counts.ok, counts.errors) == (4300, 4287, 13)
    assert counts.by_class == {"sql_error": 13}


def slap(data: bytes) -> dict[str, bytes]:
    """Return what mysqlslap leaves."""
    files = {
        "mysqlslap.csv": data,
        "status-before.txt": status(10),
        "status-after.txt": status(1100),
    }
    return {**{f"result/{name}": text for name, text in files.items()}, "err": b"Access denied\n"}


def test_mysqlslap() -> None:
    """The rate follows from the seconds that all queries took; of single ones nothing is known."""
    row = (DATA / "mariadb-slap-10.11.19.csv").read_bytes().splitlines(keepends=True)[0]
    measured = mysqlslap(slap(row), spec("mysqlslap", iterations=2))
    assert codes(measured) == {"no_percentiles": "info"}
    assert measured.metrics["ops_s"].value == pytest.approx(400 / 0.064)
    assert measured.metrics["elapsed_s"].max == 0.066
    assert measured.counts.ok == 800


@pytest.mark.parametrize("data", [b"", b"\x00,\xff", b"a,b,c\n", b"i,m,0.0,0,0,1,4\n"])
def test_mysqlslap_without_a_row(data: bytes) -> None:
    """Without the one row there is no result, and the reason is what was said last."""
    measured = mysqlslap(slap(data), spec("mysqlslap"))
    assert codes(measured) == {"no_result": "error"}
    assert "Access denied" in measured.flags[0].detail


def pgbench_files(**over: bytes) -> dict[str, bytes]:
    """Return what a good run at a rate leaves."""
    files = {
        "pgbench.txt": (DATA / "pgbench-15.18.txt").read_bytes(),
        "pgbench.txt.err": (DATA / "pgbench-15.18.err").read_bytes(),
        "latency-sched.txt": b"0.500000 100\n2.000000 100\n30.000000 7\n",
        "latency-service.txt": b"0.400000 200\n1.900000 7\n",
        "status-before.txt": b"running\t0\nserver_version_num\t150018\nxact_commit\t20\n",
        "status-after.txt": b"running\t0\nserver_version_num\t150018\nxact_commit\t230\n",
    }
    return {f"result/{name}": data for name, data in (files | over).items()}


def test_pgbench_at_a_rate() -> None:
    """Latencies count from the schedule and from the sending, each transaction for itself."""
    measured = pgbench(pgbench_files(), spec("pgbench", rate=100.0))
    assert codes(measured) == {}
    metrics = measured.metrics
    assert metrics["ops_s"].value == 104.467579
    sched, service = metrics["latency_sched"], metrics["latency_service"]
    assert (sched.n, sched.mean, sched.stdev, sched.max) == (207, 1.870, 1.517, 30.0)
    assert sched.percentiles == {"50": 2.0, "90": 2.0, "95": 2.0, "99": None, "99.9": None}
    assert (service.n, service.mean, service.min) == (207, None, 0.4)
    assert measured.server_metrics["delta"] == {"xact_commit": 210.0}


def test_pgbench_closed_loop() -> None:
    """Without a rate there is one latency, and a word about what it cannot show."""
    measured = pgbench(pgbench_files(), spec("pgbench"))
    assert codes(measured) == {"closed_loop": "info"}
    assert set(measured.metrics) == {"ops_s", "latency_service"}


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ({"pgbench.txt": b""}, {"no_result": "error"}),
        ({"latency-service.txt": b"0.4 100\n"}, {"incomplete": "warn"}),
        ({"latency-service.txt": b"\xff x\n-1 5\nnan 5\n0.4 207\n"}, {}),
        ({"status-after.txt": b""}, {"not_cross_checked": "info"}),
        ({"status-after.txt": b"xact_commit\t160\n"}, {"counter_mismatch": "error"}),
        ({"status-after.txt": b"xact_commit\t400\n"}, {"counter_mismatch": "warn"}),
        ({"status-after.txt": b"xact_commit\t2\n"}, {"server_restarted": "error"}),
    ],
)
def test_pgbench_flags(over: dict[str, bytes], expected: dict[str, str]) -> None:
    """No transaction is an error, and transactions that were not timed are said."""
    assert codes(pgbench(pgbench_files(**over), spec("pgbench", rate=1.0))) == expected


def test_a_histogram_gives_only_values_that_are_in_it() -> None:
    """A percentile is the smallest value that so many do not exceed, never one between two."""
    counts = histogram.read(["1.0 |** 90", "2.0 |* 9", "9.0 | 1", "no line", "3.0 x"])
    found = [histogram.percentile(counts, q) for q in (50, 90, 90.1, 99, 99.5, 100)]
    assert found == [1.0, 1.0, 2.0, 2.0, 9.0, 9.0]
    assert histogram.percentile({}, 50) is None
