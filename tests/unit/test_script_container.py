"""What the batch script does with container runtimes and modules: a stand-in records it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchd.core.payload import Sh
from benchd.core.spec import Container, Role
from benchd.fields import Resources
from support.node import DEADLINE, Node, nodes, until
from support.script_cases import APPTAINER, NASTY, Case, case


@pytest.fixture(name="node")
def a_node(tmp_path: Path) -> Iterator[Node]:
    """Return a node whose job directory holds try 1."""
    yield from nodes(tmp_path)


SHOW = """[ "$1" = exec ] && { env | grep ENV_ | sort; printf '%s\\n' "$@"; exit 3; }
printf '%s\\n' "$*" >>"$HOME/pulls"; [ -z "$PULL_FAILS" ] && echo image >"$2" """


def boxed(**over: Any) -> Case:
    """Return a job in a container, on a cluster without modules."""
    over.setdefault("container", Container(docker_source="redis:7", image_path="$HOME/i/r.sif"))
    runtime = APPTAINER.model_copy(update={"module": None, "cache": None})
    return case("redis-server", "a b", runtime=over.pop("runtime", runtime), **over)


def test_the_container_gets_what_is_listed_and_nothing_else(node: Node) -> None:
    """The environment is cleaned; benchd's, Slurm's listed and the recipe's variables are given."""
    node.tool("apptainer", SHOW)
    (node.workdir / "home" / "i").mkdir()
    (node.workdir / "home" / "i" / "r.sif").touch()
    box = Container(image_path="$HOME/i/r.sif", bind_mounts=("$HOME/d:/data:ro", "/a b:/c"))
    gpu = Resources(gres="gpu:1")
    what = boxed(container=box, resources=gpu, environment={"X": NASTY})
    status, out, err = node.run(what, CUDA_VISIBLE_DEVICES="1,3", SECRET="s")
    assert (3, "") == (status, err)
    lines = out.split("\n")
    assert [
        *("exec", "--cleanenv", "--bind", str(node.job)),
        *("--bind", f"{node.workdir}/home/d:/data:ro", "--bind", "/a b:/c"),
        *("--pwd", str(node.job), "--nv"),
        *(f"{node.workdir}/home/i/r.sif", "redis-server", "a b", ""),
    ] == lines[lines.index("exec") :]
    given = dict(
        line.removeprefix("APPTAINERENV_").split("=", 1) for line in lines if "ENV_" in line
    )
    assert {
        "CUDA_VISIBLE_DEVICES": "1,3",
        "X": NASTY,
        "SLURM_JOB_ID": "101",
    }.items() <= given.items()
    assert {"BENCHD_HOST", "BENCHD_RESULT_DIR", "BENCHD_TOKEN"} <= set(given)
    assert "SECRET" not in given


def test_a_missing_image_is_brought_once(node: Node) -> None:
    """An image that is not there yet is pulled to its path, and the next job finds it."""
    node.tool("apptainer", SHOW)
    for slurm_id in ("101", "101"):
        assert node.run(boxed(), slurm_id=slurm_id)[0] == 3
    folder = node.workdir / "home" / "i"
    pulls = (node.workdir / "home" / "pulls").read_text()
    assert pulls == f"pull {folder}/r.sif.part-101 docker://redis:7\n"
    assert sorted(p.name for p in folder.iterdir()) == ["r.sif", "r.sif.benchd.json"]


def test_an_image_that_somebody_else_brings_is_awaited(node: Node) -> None:
    """A job that finds the lock taken waits for the image instead of pulling it again."""
    node.tool("apptainer", SHOW)
    folder = node.workdir / "home" / "i"
    (folder / "r.sif.lock").mkdir(parents=True)
    node.tool("sleep", f': >"{folder}/r.sif"')  # what the other job does in the meantime
    assert node.run(boxed())[0] == 3
    assert not (node.workdir / "home" / "pulls").exists()


@pytest.mark.parametrize(
    ("owner", "age"),
    [(None, 1900), ("another-node 1 {user} t", 400), ("{node} 99999999 {user} t", 0)],
    ids=["of nobody, old", "not touched any more", "of a process that is gone"],
)
def test_a_lock_whose_holder_is_dead_does_not_block(
    node: Node, owner: str | None, age: float
) -> None:
    """The image is brought in spite of a lock that nobody can be working behind."""
    node.tool("apptainer", SHOW)
    lock = node.workdir / "home" / "i" / "r.sif.lock"
    lock.mkdir(parents=True)
    touched = lock
    if owner is not None:
        touched = lock / "owner"
        touched.write_text(owner.format(node=os.uname().nodename, user=os.getuid()) + "\n")
    os.utime(touched, (time.time() - age,) * 2)
    assert node.run(boxed())[0] == 3
    assert sorted(p.name for p in lock.parent.iterdir()) == ["r.sif", "r.sif.benchd.json"]


def test_an_image_made_before_must_be_there(node: Node) -> None:
    """A job whose image is made by a job of its own does not make it, and says when it is gone."""
    node.tool("apptainer", SHOW)
    box = Container(docker_source="redis:7", image_path="$HOME/i/r.sif", build="job")
    status, _, err = node.run(boxed(container=box))
    assert (1, True) == (status, f"{node.workdir}/home/i/r.sif was there and is gone" in err)
    assert not (node.workdir / "home" / "pulls").exists()


def test_a_service_tells_which_image_it_came_of(node: Node) -> None:
    """endpoint.json carries the digest from the note beside the image, if that is about it."""
    node.tool("apptainer", SHOW)
    digest = f"sha256:{hashlib.sha256(b'image' + bytes([10])).hexdigest()}"
    node.run(boxed())
    assert digest == node.json("endpoint.json")["image"]
    (node.workdir / "home" / "i" / "r.sif").write_text("another image")
    node.run(boxed(), restarts=1)
    assert "image" not in node.json("endpoint.json")


def test_an_image_that_cannot_be_brought_is_said(node: Node) -> None:
    """A failed pull ends the job before the payload and before an endpoint is published."""
    node.tool("apptainer", SHOW)
    status, out, err = node.run(boxed(), PULL_FAILS="1")
    assert (1, "", True) == (status, out, "could not be made" in err)
    assert "endpoint.json" not in node.names()
    assert list((node.workdir / "home" / "i").iterdir()) == []


def test_a_pull_can_be_interrupted(node: Node) -> None:
    """SIGTERM while the image comes ends the job with 143 and leaves neither lock nor part."""
    node.tool("apptainer", ': >"$2"; exec sleep 1000')
    process = node.start(boxed())
    folder = node.workdir / "home" / "i"
    until((folder / "r.sif.part-101").exists)
    process.terminate()
    process.communicate(timeout=DEADLINE)
    assert (143, 143) == (process.returncode, node.json("exit.json")["status"])
    assert list(folder.iterdir()) == []


def test_an_image_without_a_source_must_be_there(node: Node) -> None:
    """A missing image that nothing can be made from is said with its path."""
    node.tool("apptainer", SHOW)
    status, _, err = node.run(boxed(container=Container(image_path="$HOME/x.sif")))
    assert (1, True) == (status, f"{node.workdir}/home/x.sif is not on this node" in err)


def test_a_variable_that_the_node_does_not_know_is_said(node: Node) -> None:
    """A path below an unset variable ends the job with the variable's name."""
    node.tool("apptainer", SHOW)
    status, _, err = node.run(boxed(container=Container(image_path="$NOWHERE/x.sif")))
    assert status != 0
    assert "NOWHERE: is not set on this node" in err
    assert status == node.json("exit.json")["status"]


def test_a_node_without_the_runtime_says_so(node: Node) -> None:
    """A runtime that is not installed is named, with the setting that brings it."""
    runtime = APPTAINER.model_copy(update={"module": None, "name": "singularity"})
    status, _, err = node.run(boxed(runtime=runtime), SCRATCH=str(node.workdir))
    assert (1, True) == (status, "singularity is not on this node: set runtime.module" in err)


@pytest.mark.parametrize(("names", "expected"), [("A/1 B", 0), ("bad", 1)])
def test_modules_are_loaded_first(node: Node, names: str, expected: int) -> None:
    """Each word of runtime.module is one module; one that does not load ends the job."""
    runtime = APPTAINER.model_copy(update={"name": "none", "module": names, "cache": None})
    function = '() {  echo "module $*"; [ "$2" != bad ]\n}'
    environment = {"BASH_FUNC_module%%": function}
    status, out, err = node.run(case("echo", "ran", runtime=runtime), **environment)
    assert (expected, f"module load {names}") == (status, out.split("\n")[0])
    assert ("ran" in out) is (expected == 0)
    assert ("module load bad failed" in err) is (expected == 1)


@pytest.mark.parametrize(
    ("look", "here", "expected"),
    [
        (66, True, "on the node: image=\n"),
        (0, True, "in the image\n"),
        (255, True, "in the image\n"),  # a broken runtime is not a missing tool: it is to be seen
        (66, False, "in the image\n"),
    ],
)
def test_a_tool_runs_where_it_is(node: Node, look: int, here: bool, expected: str) -> None:
    """What its image lacks and the node has runs on the node, which is said; else in the image."""
    node.tool("apptainer", f'case "$*" in *"for each"*) exit {look} ;; esac; echo in the image')
    node.tool("wrapper", 'echo "on the node: image=$IMAGE"')
    if here:
        node.tool("a-benchmark", "exit 0")
    (node.workdir / "home" / "r.sif").touch()
    (node.job / "try-1" / "targets.env").touch()
    what = case(
        "wrapper",
        payload={
            "needs": ("no-benchmark", "a-benchmark"),
            "environment": {"IMAGE": Sh('"$benchd_image"')},
        },
        runtime=APPTAINER.model_copy(update={"module": None, "cache": None}),
        container=Container(image_path="$HOME/r.sif"),
        role=Role.CLIENT,
    )
    status, out, err = node.run(what)
    assert (status, out) == (0, expected)
    assert ("the image has no no-benchmark and this node has " in err) is ("node" in expected)
