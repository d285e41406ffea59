"""What each container runtime is told, by a stand-in that writes it down, and images it makes.

What these products then do is tried with real ones in tests/slurm/test_containers_real.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchd.config import RuntimeSettings
from benchd.core import containers
from benchd.core.payload import Sh
from benchd.core.runtimes import KINDS
from benchd.core.spec import Container, Secret
from benchd.edge.submission import secret_env
from benchd.fields import Resources
from support.node import Node, nodes
from support.script_cases import NASTY, case

# Writes down the words and the environment of the call that runs the program.
STAND_IN = r"""case ${0##*/}:${1:-} in
    podman:info) echo crun; exit ;;
    podman:load) echo "Loaded image: localhost/redis:7"; exit ;;
    podman:ps) echo 4711; exit ;;
    enroot:list) printf '%s\n' "benchd-$SLURM_JOB_ID-1" benchd-9-1 others; exit ;;
    podman:rm | enroot:remove | enroot:create) echo "$@" >>"$BENCHD_CALLS"; exit ;;
    ch-run:*) case "$*" in *' -- sh -c '*) exit 0 ;; esac ;;
esac
printf '%s\0' "$@" >"$BENCHD_CALLS.argv"
env -0 >"$BENCHD_CALLS.env"
exit 3
"""
OTHERS = ("charliecloud", "podman", "enroot", "pyxis")


@pytest.fixture(name="node")
def a_node(tmp_path: Path) -> Iterator[Node]:
    """Return a node whose job directory holds try 1."""
    yield from nodes(tmp_path)


@pytest.mark.parametrize("name", OTHERS)
def test_a_command_is_run_in_the_image(node: Node, name: str) -> None:
    """Its words come last, mounts and variables byte for byte, secrets by their names alone."""
    runtime = RuntimeSettings(name=name, options=("--more", "a b"))
    node.tool(KINDS[name].runs, STAND_IN)
    (node.workdir / "image").touch()
    (node.job / "try-1" / "secret.env").write_text(secret_env({"A_PASSWORD": "hush$(id)"}))
    what = case(
        *("serve", NASTY, Sh('"$BENCHD_PORT"')),
        runtime=runtime,
        container=Container(
            image_path=f"{node.workdir}/image", bind_mounts=("$HOME/d:/data:ro", "/srv")
        ),
        secrets={"A_PASSWORD": Secret(generate=24)},
        environment={"MOTTO": NASTY},
        resources=Resources(gres="gpu:1"),
        ports=("auto",),
    )
    calls = str(node.workdir / "calls")
    told = {
        "BENCHD_CALLS": calls,
        "OUTSIDE": "1",
        "CUDA_VISIBLE_DEVICES": "1,3",
        "SLURMD_NODENAME": "n1",
    }
    status, _, err = node.run(what, **told)
    assert (3, "") == (status, err)
    words = Path(f"{calls}.argv").read_text().split("\0")[:-1]
    env = dict(x.split("=", 1) for x in Path(f"{calls}.env").read_text().split("\0")[:-1])
    port = str(node.json("endpoint.json")["ports"][0])
    assert ["serve", NASTY, port] == words[-3:]
    assert [] == [word for word in words if "hush" in word]
    assert "hush$(id)" == env["A_PASSWORD"]
    assert [] == [word for word in words if "OUTSIDE" in word]
    motto = {"charliecloud": f"--set-env=MOTTO='{NASTY}'", "enroot": f'MOTTO="{NASTY}"'}
    assert motto.get(name, f"MOTTO={NASTY}") in words
    home = node.workdir / "home"
    joined = ",".join(words)
    expected = {
        "charliecloud": (f"--bind,{home}/d:/data,", "--bind,/srv:/srv,"),
        "podman": (f"--volume,{home}/d:/data:ro,", "--volume,/srv:/srv,"),
        "enroot": (f"--mount,{home}/d:/data:none:x-create=auto,rbind,ro,", "/srv:/srv:none:"),
        "pyxis": (f"--container-mounts={node.job}:{node.job},{home}/d:/data:ro,/srv:/srv,",),
    }
    assert [] == [part for part in (*expected[name], "--more,a b,") if part not in joined]
    handed = {
        "podman": "--env,A_PASSWORD,",
        "enroot": "--env,A_PASSWORD,",
        "pyxis": "BENCHD_TOKEN,",
        "charliecloud": "--env-no-expand",
    }
    assert handed[name] in joined
    if name in ("charliecloud", "pyxis"):  # hand on what they have
        assert "OUTSIDE" not in env
        assert "1,3" == env["CUDA_VISIBLE_DEVICES"]
    assert {"podman": ("nvidia.com/gpu=all" in words)}.get(name, True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("podman", ["rm --force --time 0 4711"]),
        ("enroot", ["remove --force benchd-101-1"]),
    ],
)
def test_nothing_is_left_on_the_node(node: Node, name: str, expected: list[str]) -> None:
    """What a runtime keeps on a node is taken away when the job ends, and only that job's."""
    node.tool(name, STAND_IN)
    (node.workdir / "image").touch()
    what = case(
        "serve",
        runtime=RuntimeSettings(name=name),
        container=Container(image_path=f"{node.workdir}/image"),
    )
    calls = node.workdir / "calls"
    assert 3 == node.run(what, BENCHD_CALLS=str(calls))[0]
    assert expected == [x for x in calls.read_text().splitlines() if not x.startswith("create")]


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_node_without_the_program_says_which(node: Node, name: str) -> None:
    """The program that is missing is named, with the setting that brings it."""
    (node.workdir / "image").touch()
    box = Container(image_path=f"{node.workdir}/image")
    what = case("serve", runtime=RuntimeSettings(name=name, module="M/1"), container=box)
    node.tool("module", "")
    modules = {"BASH_FUNC_module%%": "() {  :\n}"}
    for needed in ("bash", "uname", "getent", "hostname", "ln", "readlink", "mkdir", "rm"):
        node.tool(needed, f'exec /usr/bin/{needed} "$@"')
    for needed in ("date", "mv", "timeout"):
        node.tool(needed, f'exec /usr/bin/{needed} "$@"')
    status, _, err = node.run(what, PATH=str(node.tools), **modules)
    said = f"benchd: {KINDS[name].runs} is not on this node: check runtime.module in the cluster's"
    assert (1, True) == (status, said in err), err


@pytest.mark.parametrize(
    ("name", "origin", "expected"),
    [
        ("apptainer", "redis:7", 'apptainer pull "$benchd_part" docker://redis:7'),
        ("singularity", "oras://x/y:1", 'singularity pull "$benchd_part" oras://x/y:1'),
        ("charliecloud", "redis:7", '-o "$1" redis:7 "$benchd_part"'),
        ("podman", "redis:7", "podman pull --quiet docker://redis:7"),
        ("enroot", "redis:7", '--output "$benchd_part" -- docker://redis:7'),
        ("enroot", "docker://a.example/b/c:1", "-- 'docker://a.example#b/c:1'"),
        ("pyxis", "a.example:5000/c", "-- 'docker://a.example:5000#c'"),
    ],
)
def test_images_are_made_from_where_the_recipe_says(name: str, origin: str, expected: str) -> None:
    """Each runtime gets the reference in its own form; ``redis:7`` means Docker's registry."""
    runtime = RuntimeSettings(name=name)
    lines = containers.make_commands(runtime, Container(docker_source=origin))
    assert [True] == [expected in line for line in lines if expected in line]


def test_an_image_needs_a_source() -> None:
    """Without docker_source there is nothing to make."""
    with pytest.raises(ValueError, match="docker_source"):
        containers.make_commands(RuntimeSettings(name="podman"), Container(image_path="/x"))
