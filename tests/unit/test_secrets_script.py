"""What a batch script does with secrets when bash really runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchd.catalog import CATALOG
from benchd.core.payload import Payload, Sh
from benchd.core.script import render
from benchd.core.secrets import MOMENTARY
from benchd.core.spec import Container, JobSpec, RestartPolicy, Role, Secret
from benchd.edge.targets import secret_env
from support.node import Node, nodes
from support.script_cases import APPTAINER, HOST, NASTY, TOKEN, Case, case

VALUES = {"A_PASSWORD": NASTY, "B_KEY": "$(touch pwned)'\"\\"}


@pytest.fixture(name="node")
def a_node(tmp_path: Path) -> Iterator[Node]:
    """Return a node whose job directory holds try 1."""
    yield from nodes(tmp_path)


def put(node: Node, values: dict[str, str], k: int = 1) -> Path:
    """Write the secrets of a try, as a submission does."""
    path = node.job / f"try-{k}" / "secret.env"
    path.parent.mkdir(exist_ok=True)
    path.write_text(secret_env(values))
    return path


def secretive(*argv: str | Sh, **over: Any) -> Case:
    """Return a service with the two secrets."""
    return case(*argv, secrets={"A_PASSWORD": None, "B_KEY": Secret(generate=24)}, **over)


def test_the_payload_and_nobody_else_knows_the_secrets(node: Node) -> None:
    """Values reach the program's environment byte for byte, and the file is gone by then."""
    path = put(node, VALUES)
    show = 'printf "%s\\n" "$A_PASSWORD" "$B_KEY"; test ! -e "$1/secret.env"'
    status, out, err = node.run(secretive("sh", "-c", show, "sh", Sh('"$JOB/try-1"')))
    assert (0, f"{VALUES['A_PASSWORD']}\n{VALUES['B_KEY']}\n", "") == (status, out, err)
    assert not path.exists()
    assert not (node.job / "pwned").exists()


def test_a_job_that_fails_early_leaves_none(node: Node) -> None:
    """When the script ends before its payload starts, the secrets of all tries are removed."""
    left = [put(node, VALUES, k) for k in (1, 2)]
    (node.job / "result").write_text("in the way")
    assert 1 == node.run(secretive("true"))[0]
    assert [False, False] == [path.exists() for path in left]


def test_a_twin_leaves_the_owners_alone(node: Node) -> None:
    """A script that loses the claim neither reads nor removes anything."""
    path = put(node, VALUES)
    (node.job / "claim").symlink_to("7")
    assert 75 == node.run(secretive("true"))[0]
    assert path.exists()


def test_what_slurm_may_start_again_keeps_them(node: Node) -> None:
    """With restart.requeue the next generation finds its secrets; benchd removes them later."""
    path = put(node, VALUES)
    what = secretive("sh", "-c", 'echo "$B_KEY"', restart=RestartPolicy(requeue=True))
    first, second = node.run(what), node.run(what, restarts=1)
    assert [(0, f"{VALUES['B_KEY']}\n")] * 2 == [first[:2], second[:2]]
    assert path.exists()


def test_missing_secrets_are_said_before_the_program_starts(node: Node) -> None:
    """A service without its secrets does not run open: it fails and names them."""
    status, out, err = node.run(secretive("echo", "ran"))
    assert (1, "") == (status, out)
    assert "the secrets (A_PASSWORD B_KEY) are not in" in err


def test_a_client_is_told_what_its_services_are_told(node: Node) -> None:
    """A client whose script was written before anybody knew of secrets has them all the same."""
    (node.job / "try-1" / "targets.env").write_text("")
    path = put(node, VALUES)
    status, out, _ = node.run(case("sh", "-c", 'echo "$B_KEY"', role=Role.CLIENT))
    assert (0, f"{VALUES['B_KEY']}\n") == (status, out)
    assert not path.exists()


@pytest.mark.parametrize("role", [Role.SERVICE, Role.CLIENT])
def test_a_container_is_told_them_too(node: Node, role: Role) -> None:
    """The runtime hands them into the cleaned environment; no command line has them."""
    (node.job / "try-1" / "targets.env").write_text("")
    put(node, VALUES)
    node.tool("apptainer", 'printf "%s\\n" "$APPTAINERENV_A_PASSWORD" "$APPTAINERENV_B_KEY" "$@"')
    (node.workdir / "redis.sif").touch()
    box = Container(image_path=f"{node.workdir}/redis.sif")
    runtime = APPTAINER.model_copy(update={"module": None, "cache": None})
    secrets = {"A_PASSWORD": None, "B_KEY": None} if role is Role.SERVICE else {}
    what = case("env", runtime=runtime, container=box, role=role, secrets=secrets)
    status, out, _ = node.run(what)
    given, words = out.split("\n")[:2], out.split("\n")[2:]
    assert (0, [*VALUES.values()]) == (status, given)
    assert [] == [word for word in words if word in VALUES.values()]


def test_a_service_without_secrets_has_no_word_of_them() -> None:
    """Scripts that need none of this are as short as before."""
    spec = JobSpec(role=Role.SERVICE, name="redis", kind="generic")
    assert "secret" not in render(spec, TOKEN, Payload(argv=("true",)), HOST, {})


def test_what_kinds_write_secrets_to_is_known() -> None:
    """Each file that is removed after a job that was killed is one that some kind writes."""
    named = {name.rpartition("/")[2] for name in MOMENTARY}
    written = set()
    for kind in (*CATALOG.services.values(), *CATALOG.clients.values()):
        role = Role.SERVICE if kind.name in CATALOG.services else Role.CLIENT
        files = kind.payload(JobSpec(role=role, name="x", kind=kind.name)).files
        for text in files.values():
            written |= {name for name in named if name in str(text)}
    assert named == written
