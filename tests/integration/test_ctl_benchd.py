"""``benchd``: the commands that need no daemon."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import yaml

from benchd import __version__
from benchd.cli import ctl, daemon
from benchd.cli.check import check_all
from benchd.config import load
from benchd.sim.cluster import EmbeddedCluster
from benchd.sim.serve import configuration

RECIPES = Path(__file__).parents[2] / "recipes"


def test_validate_says_every_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Good files are said to be good; a bad one costs status 1 and says where it is wrong."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("serivce: {name: redis}\nrepeat: 0\n")
    status = daemon.main(["validate", str(RECIPES / "redis.yaml"), str(bad)])
    said = capsys.readouterr()
    assert (status, "redis.yaml: ok: 1 service" in said.out, said.err.count(f"{bad}:")) == (
        1,
        True,
        2,
    )


def test_validate_reads_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dash stands for the recipe that comes in, as it does for ``benchctl submit``."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"service: {name: redis}\n")))
    assert (0, True) == (
        daemon.main(["validate", "-"]),
        "-: ok: 1 service" in capsys.readouterr().out,
    )


@pytest.mark.parametrize("root", [ctl.parser(), daemon.parser()], ids=["benchctl", "benchd"])
def test_every_argument_has_its_help(root: argparse.ArgumentParser) -> None:
    """Whatever a command takes, its --help says what that is."""
    bare, left = [], [root]
    for parser in left:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                left += action.choices.values()
            elif not action.help:
                bare.append(f"{parser.prog} {action.dest}")
    assert [] == bare


def test_validate_warns_of_a_password(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A literal secret is no mistake; it is pointed at without being quoted."""
    recipe = tmp_path / "web.yaml"
    recipe.write_text("service: {name: redis, environment: {REDIS_PASSWORD: hunter2}}\n")
    status = daemon.main(["validate", str(recipe)])
    said = capsys.readouterr()
    warned = "service.environment.REDIS_PASSWORD: a secret" in said.err
    assert (status, warned, "hunter2" in said.out + said.err) == (0, True, False)


@pytest.mark.parametrize(
    ("runtime", "said"), [("none", "1 client job\n"), ("apptainer", "1 client job, 1 image job\n")]
)
def test_validate_counts_the_jobs_of_the_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], runtime: str, said: str
) -> None:
    """Images are only made where the configured cluster runs them."""
    config = tmp_path / "benchd.yaml"
    cluster = {"local": True, "runtime": {"name": runtime}}
    config.write_text(yaml.safe_dump({"clusters": {"here": cluster}}))
    recipe = str(RECIPES / "redis.yaml")
    status = daemon.main(["validate", "--config", str(config), recipe])
    assert (0, f"{recipe}: ok: 1 service job, {said}") == (status, capsys.readouterr().out)


def test_render_prints_scripts_that_bash_reads(capsys: pytest.CaptureFixture[str]) -> None:
    """All scripts of a recipe are one text that bash can parse, the first one from line 1."""
    assert daemon.main(["render", str(RECIPES / "redis.yaml")]) == 0
    text = capsys.readouterr().out
    checked = subprocess.run(["bash", "-n"], input=text, text=True, check=False)
    assert (text.startswith("#!/bin/bash\n"), checked.returncode) == (True, 0)


def test_render_writes_each_script_exactly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One job alone is printed as it is; --out writes one file a job, also for the image's."""
    recipe = str(RECIPES / "redis.yaml")
    assert daemon.main(["render", recipe, "--job", "redis"]) == 0
    alone = capsys.readouterr().out
    assert daemon.main(["render", recipe, "--out", str(tmp_path)]) == 0
    files = sorted(tmp_path.iterdir())
    assert (len(files), alone in [file.read_text() for file in files]) == (3, True)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["render", "nothing.yaml"], 2, "cannot read nothing.yaml"),
        (["render", str(RECIPES / "redis.yaml"), "--job", "x"], 2, "there are: redis"),
        (["render", str(RECIPES / "redis.yaml"), "--config", "/no"], 2, "/no"),
        (["run", "--config", "/nonexistent"], 78, "/nonexistent"),
        (["check", "--config", "/nonexistent"], 2, "/nonexistent"),
        (["demo", "--recipe", "/nonexistent.yaml"], 1, "there is no recipe /nonexistent.yaml"),
    ],
)
def test_a_users_mistake_is_a_message(
    *,
    words: list[str],
    status: int,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No traceback, a sentence on stderr, and a status that scripts can tell apart."""
    monkeypatch.chdir(tmp_path)
    got = daemon.main(words)
    err = capsys.readouterr().err
    assert (got, said in err, "Traceback" in err) == (status, True, False), err


@pytest.mark.parametrize("words", [["frobnicate"], ["render"], ["sim", "--port", "x"], []])
def test_a_usage_error_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be read as a command costs status 2 and one line that names --help."""
    status = daemon.main(words)
    err = capsys.readouterr().err
    assert (status, err.count("\n"), "--help" in err) == (2, 1, True), err


def test_render_of_a_mistake_is_an_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recipe with mistakes costs render status 1, as it costs validate."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("serivce: {name: redis}\n")
    statuses = [daemon.main([word, str(bad)]) for word in ("render", "validate")]
    assert ([1, 1], 2) == (statuses, capsys.readouterr().err.count(f"{bad}:1:1: serivce"))


def test_validate_answers_programs_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json every mistake has file, line, column, path and what."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("serivce: {name: redis}\n")
    status = daemon.main(["validate", "--json", str(RECIPES / "redis.yaml"), str(bad)])
    answer = json.loads(capsys.readouterr().out)
    mistake = answer["mistakes"][0]
    place = (mistake["file"], mistake["line"], mistake["column"], mistake["path"])
    assert (1, "benchd.validation/1", [True, False], (str(bad), 1, 1, "serivce")) == (
        status,
        answer["schema"],
        [each["valid"] for each in answer["files"]],
        place,
    )


@pytest.mark.asyncio
async def test_check_speaks_to_people_without_a_daemon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refused key is one line of the table: no log line, and no advice for a daemon."""
    other = tmp_path / "other"
    other.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    other.chmod(0o600)
    file = tmp_path / "benchd.yaml"
    async with EmbeddedCluster(tmp_path / "sim") as cluster:
        written: dict[str, Any] = configuration(cluster, tmp_path / "control.sock")
        written["clusters"]["sim"]["ssh"]["identity"] = str(other)
        file.write_text(yaml.safe_dump(written))
        got = await asyncio.to_thread(daemon.main, ["check", "--config", str(file)])
    said = capsys.readouterr()
    assert (1, True, False, "") == (
        got,
        "refuses the key" in said.out,
        "cluster resume" in said.out,
        said.err,
    )


@pytest.mark.parametrize("kind", ["recipe", "config", "result"])
def test_schema_prints_json(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every document that users write or read has a JSON Schema."""
    assert daemon.main(["schema", kind]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"].endswith("2020-12/schema")


def test_version_says_what_it_stands_on(capsys: pytest.CaptureFixture[str]) -> None:
    """A bug report needs benchd, Python, SQLite and asyncssh."""
    assert daemon.main(["version"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert (names[:4], __version__ != "") == (["benchd", "python", "sqlite", "asyncssh"], True)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({}, 0, "all is well: 9 looks, no failures, no warnings"),
        (
            {"defaults": {"partition": "short", "time": "90-00:00:00"}},
            1,
            "never starts: PartitionTimeLimit",
        ),
        ({"defaults": {"partition": "down"}}, 0, "no failures, 1 warning: sim job"),
        ({"defaults": {"partition": "nope"}}, 1, "no partition nope; there are: debug"),
        ({"workdir": "/proc/nope"}, 1, "set workdir to a shared directory"),
        ({"runtime": {"name": "singularity"}}, 1, "has no singularity: set runtime.module"),
    ],
)
async def test_check_proves_the_cluster(
    change: dict[str, object],
    status: int,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each look says ok or the fix; the tiny job leaves nothing behind."""
    async with EmbeddedCluster(tmp_path / "sim") as cluster:
        written = configuration(cluster, tmp_path / "control.sock")
        clusters = written["clusters"]
        assert isinstance(clusters, dict)
        clusters["sim"] |= change
        file = tmp_path / "benchd.yaml"
        file.write_text(yaml.safe_dump(written))
        patience = 1.0 if status == 0 and change else 30.0  # seconds; one of them never starts
        got = await check_all(load(file), only=None, with_job=True, patience=patience)
        left = [path.name for path in cluster.workdir.glob("check-*")]
    assert (got, said in capsys.readouterr().out, left) == (status, True, [])
