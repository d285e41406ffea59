"""What is shipped to run Spark, without Spark: documents, settings, what is missing, who is ended.

The stand-in for PySpark has as much of its interface as the driver uses, in one process, and is not
Spark; tests/acceptance/test_real_spark.py runs the same driver on the real one.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchd.ship.load.nodes import share
from benchd.ship.spark import cluster, documents, drive, found, kin, tasks
from benchd.ship.spark.documents import Form
from support.shipped import unpack

SAID = {"id": "7", "document": "text", "embedding": [0.5, -1]}


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (Form("http"), [SAID, SAID]),
        (Form("http", wrap="points"), {"points": [SAID, SAID]}),
        (
            Form("chroma"),
            {"ids": ["7", "7"], "embeddings": [[0.5, -1]] * 2, "documents": ["text"] * 2},
        ),
    ],
)
def test_documents_become_the_body_of_a_request(form: Form, expected: object) -> None:
    """A list, a list in an object, or the columns of Chroma."""
    assert expected == json.loads(documents.body([json.dumps(SAID)] * 2, form))


def test_lines_stay_lines() -> None:
    """In ndjson, each document is a line."""
    assert b'{"a":1}\n{"a":2}\n' == documents.body(['{"a":1}', '{"a":2}'], Form("http", "ndjson"))


@pytest.mark.parametrize(
    ("line", "into", "expected"),
    [
        ("{", "http", "document 3 is no JSON"),
        ("[1]", "http", "document 3 is no object"),
        ('{"document": "x"}', "chroma", 'document 3 has no "embedding"'),
    ],
)
def test_a_document_that_cannot_be_sent_is_named(line: str, into: str, expected: str) -> None:
    """Its number and what is wrong."""
    with pytest.raises(documents.Bad, match=expected):
        documents.checked(Form(into), 3, line)


def test_documents_follow_from_the_seed() -> None:
    """The same wherever it is made, another for another number or seed."""
    made = [documents.made(seed, 4, 3, index) for seed, index in ((1, 1), (1, 1), (1, 2), (2, 1))]
    assert made[0] == made[1]
    assert 3 == len(set(made))
    assert 4 == len(json.loads(made[0])["embedding"])


@pytest.mark.parametrize("total", [4, 17, 100, 101, 203])
@pytest.mark.parametrize("partitions", [1, 3, 4])
def test_batches_are_what_load_generators_expect(total: int, partitions: int) -> None:
    """Each partition has as many batches as its load generator takes for its share."""
    batch = 10
    all_of_them = documents.batches(total, partitions, batch)
    for index in range(partitions):
        file = io.BytesIO()
        rows = ["{}"] * documents.share(total, partitions, index)
        assert len(rows) == documents.write(file, rows, Form("http"), batch)
        heads = [
            line for line in file.getvalue().replace(b"]", b"]\n").splitlines() if b"[" not in line
        ]
        assert share(all_of_them, partitions, index) == len(heads)


def test_spark_lets_in_who_knows_the_secret_and_tries_nothing_twice(tmp_path: Path) -> None:
    """Settings are for their user's eyes, differ from job to job, and ask for every worker."""
    secrets = set()
    for span in ("7-0", "7-1"):
        place = cluster.Place(str(tmp_path), span, nodes=2, number=0, address="10.0.0.1")
        cluster.prepare(place, partitions=3, memory=512)
        path = Path(place.conf) / "spark-defaults.conf"
        assert (0o600, 0o700) == (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777)
        said = dict(line.split(" ", 1) for line in path.read_text().splitlines())
        secrets.add(said["spark.authenticate.secret"])
    assert 2 == len(secrets)
    wanted = {
        "spark.authenticate": "true",
        "spark.ui.enabled": "false",
        "spark.driver.host": "10.0.0.1",
        "spark.executor.cores": "2",
        "spark.cores.max": "4",  # and not 3: the second executor would never come
        "spark.task.maxFailures": "1",
        "spark.speculation": "false",
    }
    assert wanted == {name: said[name] for name in wanted}


@pytest.fixture(name="home")
def a_spark(tmp_path: Path) -> Path:
    """Make directories that look like an unpacked Spark 4, and a Java of the version in a file."""
    for name in ("bin/spark-class", "python/lib/py4j-0.10.9.9-src.zip"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "python" / "pyspark").mkdir()
    (tmp_path / "python" / "pyspark" / "version.py").write_text("__version__: str = '4.0.5'\n")
    java = tmp_path / "bin" / "java"
    java.write_text('#!/bin/sh\necho "openjdk version \\"$JAVA_IS\\"" >&2\n')
    java.chmod(0o755)
    return tmp_path


def test_spark_and_java_are_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a directory of their own, with the archives that Python needs."""
    monkeypatch.setenv("JAVA_IS", "17.0.15")
    spark = found.look(str(home), {"JAVA_HOME": str(home)})
    assert ("4.0.5", 2) == (spark.version, len(spark.python))


@pytest.mark.parametrize(
    ("change", "environ", "java", "expected"),
    [
        ("bin/spark-class", {"JAVA_HOME": "."}, "17", "is no Spark: there is no bin/spark-class"),
        ("python/lib/py4j-0.10.9.9-src.zip", {"JAVA_HOME": "."}, "17", "has no Python part"),
        ("", {"PATH": "/nowhere"}, "17", "no Java on this node, and Spark needs one"),
        (
            "",
            {"JAVA_HOME": "/nowhere"},
            "17",
            "JAVA_HOME=/nowhere has no bin/java; install Java 17",
        ),
        ("", {"JAVA_HOME": "."}, "1.8.0_412", "is too old"),
    ],
)
def test_what_is_missing_is_said_with_what_to_install(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    change: str,
    environ: dict[str, str],
    java: str,
    expected: str,
) -> None:
    """One sentence for whoever reads the job's log."""
    monkeypatch.setenv("JAVA_IS", java)
    monkeypatch.chdir(home)
    if change:
        (home / change).unlink()
    with pytest.raises(found.Missing, match=expected):
        found.look(str(home), environ)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("head --partitions 1 --spark-home /none -- load http", (69, "/none is no Spark")),
        ("worker --partitions 1 --spark-home /none", (69, "/none is no Spark")),
        ("head --partitions 1 -- dance", (2, "say what to do after --")),
    ],
)
def test_a_node_looks_before_it_starts_anything(
    tmp_path: Path, words: str, expected: tuple[int, str]
) -> None:
    """What is missing ends the job with a status of its own; a bare Python can say so."""
    argv = [sys.executable, "-I", str(unpack("spark", tmp_path)), *words.split()]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert expected[0] == done.returncode
    assert expected[1] in done.stderr
    assert "Traceback" not in done.stderr


def test_only_processes_of_this_job_are_ended() -> None:
    """They are known by what they have inherited, whatever group or session they are in."""
    sleep = ["sleep", "600"]
    ours, other = [
        subprocess.Popen(
            sleep, env={kin.MARK: mark}, start_new_session=True, executable="/bin/sleep"
        )
        for mark in (f"{os.getpid()}-0", f"{os.getpid()}-1")
    ]
    try:
        kin.end(f"{os.getpid()}-0")
        assert -9 == ours.wait(10)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "x\n  File y\nbenchd_spark.documents.Bad: document 3 is no JSON\n\tat java",
            "document 3 is no JSON",
        ),
        (
            "An error occurred\nwhile calling\no1",
            "Spark's job failed: An error occurred while calling o1",
        ),
    ],
)
def test_errors_come_through_java(text: str, expected: str) -> None:
    """Our own sentence is found in what Java makes of it; of others there is the beginning."""
    assert expected == drive.reason(text)


class Rows:
    """A stand-in for an RDD: lists of lists in this process."""

    def __init__(self, parts: list[list[Any]]) -> None:
        self.parts = parts

    def _each(self, change: Callable[[list[Any]], list[Any]]) -> Rows:
        return Rows([change(part) for part in self.parts])

    def map(self, function: Callable[[Any], Any]) -> Rows:
        """Change every row."""
        return self._each(lambda part: [function(row) for row in part])

    def filter(self, function: Callable[[Any], Any]) -> Rows:
        """Keep some rows."""
        return self._each(lambda part: [row for row in part if function(row)])

    def zipWithIndex(self) -> Rows:  # noqa: N802 - PySpark's name
        """Give each row its number."""
        rows = [row for part in self.parts for row in part]
        return Rows([[(row, index) for index, row in enumerate(rows)]])

    def count(self) -> int:
        """Return how many rows there are."""
        return sum(map(len, self.parts))

    def partitionBy(self, count: int, place: Callable[[Any], int]) -> Rows:  # noqa: N802 - PySpark's
        """Put each row where its key belongs."""
        rows = [row for part in self.parts for row in part]
        return Rows([[row for row in rows if place(row[0]) % count == at] for at in range(count)])

    def barrier(self) -> Rows:
        """Say that all run together."""
        return self

    def mapPartitionsWithIndex(self, task: Callable[..., Iterator[Any]]) -> Rows:  # noqa: N802 - PySpark's
        """Run a task on each part."""
        return Rows([list(task(index, iter(part))) for index, part in enumerate(self.parts)])

    def collect(self) -> list[Any]:
        """Return all rows, in no good order."""
        return [row for part in reversed(self.parts) for row in part]


class Context:
    """A stand-in for a SparkContext."""

    def parallelize(self, rows: range, count: int) -> Rows:
        """Put one row into each part."""
        return Rows([[row] for row in rows][:count])

    def range(self, start: int, end: int, *, numSlices: int) -> Rows:  # noqa: N803 - PySpark's name
        """Put all numbers into the first part."""
        return Rows([list(range(start, end)), *([[]] * (numSlices - 1))])

    def textFile(self, url: str, _count: int) -> Rows:  # noqa: N802 - PySpark's name
        """Return the lines of a file."""
        return Rows([Path(url.removeprefix("file://")).read_text().split("\n")])


@pytest.fixture(name="generator")
def a_load_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program in the place of the load generator, which writes down what it is told."""
    program = tmp_path / "load.py"
    program.write_text(
        "import os, shutil, sys\n"
        "words = sys.argv[1:]\n"
        "node = words[words.index('--node') + 1]\n"
        "open('told-' + node, 'w').write('\\n'.join(words))\n"
        "if '--bodies' in words:\n"
        "    shutil.copy(words[words.index('--bodies') + 1], 'bodies-' + node)\n"
    )
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "BENCHD_JOB": str(tmp_path),
        "SPARK_CONF_DIR": str(tmp_path),
        "BENCHD_SHIP_LOAD": str(program),
        "BENCHD_NODE_INDEX": "0",
        "BENCHD_NODES": "1",
    }.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def test_each_partition_is_a_load_generator(generator: Path) -> None:
    """They are told how many they are and which, and none runs a second time."""
    wanted = drive.Wanted(2, "out", "id", ["load", "http", "--url", "http://x:1"])
    done, _ = drive.load(Context(), wanted)
    assert [(0, 0), (1, 0)] == [(row["index"], row["status"]) for row in done]
    told = (generator / "told-1").read_text().split("\n")
    expected = "http --url http://x:1 --out out --run-id id --nodes 2 --node 1"
    assert expected.split() == told
    with pytest.raises(tasks.Problem, match="partition 0 has run before"):
        tasks.run(["http"], 0)


def test_documents_of_a_file_are_sent_once(generator: Path) -> None:
    """Every line goes into one batch of one partition."""
    (generator / "in.jsonl").write_text("".join(f'{{"n":{n}}}\n' for n in range(25)))
    words = "ingest --into http --url http://x:1 --batch 4 --input in.jsonl --path /bulk"
    done, said = drive.ingest(Context(), drive.Wanted(3, "out", "id", words.split()))
    assert (25, [9, 8, 8]) == (said["documents"], [row["documents"] for row in done])
    sent = []
    for index in range(3):
        lines = (generator / f"bodies-{index}").read_bytes()
        while lines:
            head, _, rest = lines.partition(b"\n")
            size = int(head.split()[1])
            sent += [row["n"] for row in json.loads(rest[:size])]
            lines = rest[size:]
    assert list(range(25)) == sorted(sent)
    assert "--batches\n7\n--path\n/bulk" in (generator / "told-0").read_text()


def test_the_driver_says_why_it_cannot(
    generator: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several replicas would each have a part of the documents; that is no workload."""

    class Conf:
        setMaster = setAppName = lambda self, _text: self  # noqa: N815 - PySpark's names

    class Stopped(Context):
        def __init__(self, conf: Conf) -> None:
            pass

        def stop(self) -> None:
            pass

    standing_in = SimpleNamespace(__version__="0", SparkContext=Stopped, SparkConf=Conf)
    monkeypatch.setitem(sys.modules, "pyspark", standing_in)
    words = ["ingest", "--into", "http", "--url", "http://x:1,http://y:1"]
    assert 1 == drive.drive("spark://x:1", drive.Wanted(1, "out", "id", words))
    assert "there are several replicas" in capsys.readouterr().err
    assert 1 == json.loads((generator / "out" / "spark.json").read_text())["partitions"]
