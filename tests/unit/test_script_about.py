"""What a job's script notes about itself: node, GPUs, version; and a client about its services."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchd.core.model import Binding
from benchd.core.spec import Role, Target
from benchd.edge.targets import targets_json
from benchd.fields import Resources
from support.node import Node, nodes
from support.script_cases import TOKEN, Case, case

SERVICE = Binding(
    name="redis",
    token=TOKEN.replace("k5wz3tqa2f", "otherrunid"),
    generation=0,
    host="n1",
    ports=(6379,),
)
# Until what is asked beside the program is written down, or for as long as anybody would wait.
WAITS = ("sh", "-c", 'for n in $(seq 100); do [ -e "$0" ] && exit 0; sleep 0.1; done; exit 1')


@pytest.fixture(name="node")
def a_node(tmp_path: Path) -> Iterator[Node]:
    """Return a node whose job directory holds try 1."""
    yield from nodes(tmp_path)


def asked(node: Node, name: str, *version: str, resources: Resources | None = None) -> Case:
    """Return a service that ends once this note is there."""
    words = (*WAITS, str(node.job / "result" / name))
    over = {"resources": resources} if resources is not None else {}
    return case(*words, payload={"version": version}, **over)


def test_the_node_is_described(node: Node) -> None:
    """Cores, memory, kernel, and what Slurm gave: in JSON, whatever the words are."""
    words = {"SLURM_JOB_PARTITION": 'g"pu', "SLURM_JOB_QOS": "high", "SLURM_CPUS_ON_NODE": "4"}
    assert 0 == node.run(case("true"), **words)[0]
    said = node.json("result/benchd-node.json")
    assert (os.cpu_count(), os.uname().release) == (said["cores"], said["kernel"])
    assert (4, "gpu,high,") == (said["given"], said["in"])
    assert said["mem_kib"] > 0


def test_a_program_does_not_wait_for_its_version(node: Node) -> None:
    """Who does not answer is left behind, without a note."""
    began = time.monotonic()
    assert 0 == node.run(asked(node, "benchd-node.json", "sleep", "30"))[0]
    assert time.monotonic() - began < 4.0
    assert not (node.job / "result" / "benchd-version.txt").exists()


def test_what_answers_is_kept(node: Node) -> None:
    """The note has its name only when it is whole."""
    what = asked(node, "benchd-version.txt", "sh", "-c", "echo v7; echo noise >&2")
    assert (0, "", "") == node.run(what)
    assert "v7\n" == (node.job / "result" / "benchd-version.txt").read_text()


def test_gpus_are_asked_for_where_some_were(node: Node) -> None:
    """A program that fails leaves no note, and the job goes on."""
    table = "A100, 40960, 535.54, GPU-1"
    node.tool("nvidia-smi", f"echo '{table}'")
    gpus = Resources(gpus="1")
    assert 0 == node.run(asked(node, "benchd-gpus.csv", resources=gpus))[0]
    assert f"{table}\n" == (node.job / "result" / "benchd-gpus.csv").read_text()


def test_a_client_brings_its_services_notes_along(node: Node) -> None:
    """They lie in directories of the service's token, also when the service is of another run."""
    service = SERVICE.token
    home = node.workdir / "runs" / service.split("-")[1] / "jobs" / service / "result"
    home.mkdir(parents=True)
    (home / "benchd-node.json").write_text(json.dumps({"node": "n1"}))
    (home / "dump.rdb").write_text("much")
    (node.job / "try-1" / "targets.json").write_text(targets_json((SERVICE,)))
    (node.job / "try-1" / "targets.env").write_text("")
    client = case("sh", "-c", "exit 3", role=Role.CLIENT, targets=(Target(name="redis"),))
    assert (3, "", "") == node.run(client)
    brought = node.job / "result" / "benchd-services" / service
    assert ["benchd-node.json"] == [path.name for path in brought.iterdir()]
