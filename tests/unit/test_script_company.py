"""What goes on beside a payload's program when bash really runs it; nothing of it is left."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchd.core.payload import Beside, Sh, Step
from benchd.core.spec import Role
from support.node import DEADLINE, Node, nodes, until
from support.script_cases import NASTY, Case, case


@pytest.fixture(name="node")
def a_node(tmp_path: Path) -> Iterator[Node]:
    """Return a node whose job directory holds try 1."""
    yield from nodes(tmp_path)


def shell(text: str, *words: str | Sh, on_host: bool = False) -> Step:
    """Return a step that runs this in a shell."""
    return Step(argv=("sh", "-c", text, "sh", *words), on_host=on_host)


def _text(node: Node, name: str) -> str:
    return (node.job / name).read_text()


def with_company(text: str, over: dict[str, Any] | None = None, **payload: Any) -> Case:
    """Return a job whose program is this text in bash, and which has company."""
    return case("bash", "-c", text, payload=payload, **(over or {}))


# Listens on its port until it is told to end, and then says it is content.
LISTENER = """exec python3 -c '
import signal, socket, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server = socket.create_server(("0.0.0.0", int(sys.argv[1])))
while True:
    server.accept()[0].close()
' "$BENCHD_PORT" """


def test_steps_go_before_the_program_in_order(node: Node) -> None:
    """They have the job's environment and input, and byte for byte the words they were given."""
    steps = (
        shell('echo "1 $X $1" >>"$BENCHD_DATA/log"', NASTY),
        Step(argv=("sh", "-c", 'cat >>"$BENCHD_DATA/log"'), stdin=Sh("echo 2")),
    )
    what = with_company('cat "$BENCHD_DATA/log"', {"environment": {"X": NASTY}}, before=steps)
    assert (0, f"1 {NASTY} {NASTY}\n2\n", "") == node.run(what)


def test_a_step_that_fails_ends_the_job(node: Node) -> None:
    """Its status is the job's, it is said by its program's name alone, and nothing more starts."""
    steps = (shell("exit 7", "a secret"), shell("echo second"))
    status, out, err = node.run(with_company("echo ran", before=steps, after=("echo after",)))
    assert (7, "after\n") == (status, out)
    assert "benchd: before: sh ended with status 7, so the job ends\n" == err
    assert node.json("exit.json")["status"] == 7


def test_a_service_is_found_only_once_its_steps_are_done(node: Node) -> None:
    """Steps run when the port takes connections; then there are ``up`` and ``endpoint.json``."""
    step = shell('echo "$BENCHD_PORT" >"$JOB/step"; until [ -e "$JOB/go" ]; do sleep 0.02; done')
    over = {"ports": ("auto",), "environment": {"JOB": str(node.job)}}
    process = node.start(with_company(LISTENER, over, once_up=(step,)))
    until((node.job / "step").exists)
    assert set() == {"up", "endpoint.json"} & set(node.names())
    (node.job / "go").touch()
    until((node.job / "endpoint.json").exists)
    assert "up" in node.names()
    port = node.json("endpoint.json")["ports"][0]
    assert str(port) == (node.job / "step").read_text().strip()
    process.terminate()
    process.communicate(timeout=DEADLINE)
    assert (0, 0) == (process.returncode, node.json("exit.json")["status"])
    until(lambda: not node.processes(process.pid))


def test_a_step_that_fails_once_up_ends_the_service(node: Node) -> None:
    """The status is the step's, though the program, told to end, is content; nobody finds it."""
    what = with_company(LISTENER, {"ports": ("auto",)}, once_up=(shell("exit 9"), shell("exit 1")))
    status, _, err = node.run(what)
    assert (9, 9) == (status, node.json("exit.json")["status"])
    assert "benchd: once up: sh ended with status 9, so the job ends\n" == err
    assert set() == {"up", "endpoint.json"} & set(node.names())


def test_a_program_that_ends_before_it_is_up_is_not_awaited(node: Node) -> None:
    """The job ends as its program does, and no step once up has run."""
    over = {"ports": ("auto",)}
    started = node.run(with_company("exit 4", over, once_up=(shell("echo up"),)))
    assert (4, "", "") == started


def test_stale_signs_of_an_earlier_life_are_gone(node: Node) -> None:
    """A service that Slurm started again is not ``up`` because it once was."""
    (node.job / "claim").symlink_to("101")
    (node.job / "up").touch()
    over = {"ports": ("auto",)}
    node.run(with_company('ls "$BENCHD_JOB"', over, once_up=(shell("true"),)), restarts=1)
    assert "up" not in node.names()


LASTING = "trap 'echo told; exit' TERM; echo started; while :; do sleep 0.02; done"


def test_what_runs_beside_dies_with_the_program(node: Node) -> None:
    """It is told to end, has its own log, and its failure is only said."""
    beside = (
        Beside(name="lasting", argv=("bash", "-c", LASTING)),
        Beside(name="bad", argv=("sh", "-c", "echo no >&2; exit 3")),
    )
    log = node.job / "beside-lasting.log"
    text = f"until grep -q started {log} && [ -e {node.job}/go ]; do sleep 0.02; done; exit 6"
    process = node.start(with_company(text, beside=beside))
    assert process.stderr is not None
    said = b"benchd: bad, which runs beside the program, ended with status 3; the job goes on, see "
    assert said + f"{node.job}/beside-bad.log\n".encode() == process.stderr.readline()
    (node.job / "go").touch()
    process.communicate(timeout=DEADLINE)
    assert 6 == process.returncode
    assert "no\n" == (node.job / "beside-bad.log").read_text()
    assert ["started", "told"] == [
        x for x in log.read_text().split("\n") if x in ("started", "told")
    ]
    until(lambda: not node.processes(process.pid))


@pytest.mark.parametrize("told", [True, False])
def test_what_comes_after_changes_nothing(node: Node, *, told: bool) -> None:
    """Lines for the end run whether the program failed or was told to end; the status stays."""
    text = "trap 'exit 5' TERM; : >\"$0\"; while :; do sleep 0.02; done" if told else "exit 5"
    what = case("bash", "-c", text, Sh('"$JOB/on"'), payload={"after": ("echo over; false",)})
    process = node.start(what)
    if told:
        until((node.job / "on").exists)
        process.terminate()
    out, _ = process.communicate(timeout=DEADLINE)
    assert (5, b"over\n") == (process.returncode, out)
    assert node.json("exit.json")["status"] == 5


def test_a_step_can_be_interrupted(node: Node) -> None:
    """SIGTERM before the program starts ends the job with 143, and the program never runs."""
    step = shell(': >"$1"; exec sleep 1000', Sh('"$JOB/on"'))
    process = node.start(with_company("echo ran", before=(step,)))
    until((node.job / "on").exists)
    process.terminate()
    out, _ = process.communicate(timeout=DEADLINE)
    assert (143, 143, b"") == (process.returncode, node.json("exit.json")["status"], out)


# Starts as many tasks as srun would, one on each node, and ends as the worst of them.
SRUN = """for word in "$@"; do case $word in --ntasks=*) n=${word#*=} ;; esac; done
while [ "$1" != bash ]; do echo "$1" >>"$HOME/srun"; shift; done
for ((i = 0; i < n; i++)); do SLURM_NODEID=$i "$@" & pids+=($!); done
for pid in "${pids[@]}"; do wait "$pid" || worst=$?; done
exit "${worst:-0}" """
THREE = {"SLURM_JOB_NUM_NODES": "3"}


def test_the_other_nodes_have_their_worker(node: Node) -> None:
    """It runs once on each of them, knows the first node and itself, and dies with the program."""
    node.tool("srun", SRUN)
    worker = shell(
        'echo "$BENCHD_NODE_INDEX of $BENCHD_NODES, $BENCHD_HEAD_IP $BENCHD_HOST_IP" '
        '>"$BENCHD_JOB/worker-$BENCHD_NODE_INDEX"; exec sleep 1000'
    )
    text = 'until [ -s "$0/worker-1" ] && [ -s "$0/worker-2" ]; do sleep 0.02; done; '
    text += 'echo "$BENCHD_HOST_IP"'
    what = case("bash", "-c", text, Sh('"$JOB"'), payload={"workers": worker})
    status, out, err = node.run(what, **THREE)
    address = out.strip()
    assert (0, False) == (status, "benchd:" in err)
    expected = [f"{index} of 3, {address} {address}\n" for index in (1, 2)]
    assert expected == [_text(node, f"worker-{index}") for index in (1, 2)]
    words = (node.workdir / "home" / "srun").read_text().split("\n")
    assert {"--relative=1", "--nodes=2", "--export=ALL", "--overlap"} <= set(words)
    until(lambda: not node.processes(node.started[0].pid))


def test_a_worker_that_fails_ends_the_job(node: Node) -> None:
    """The job has the worker's status, whatever its program says when it is told to end."""
    node.tool("srun", SRUN)
    text = "trap 'exit 0' TERM; while :; do sleep 0.02; done"
    status, _, err = node.run(with_company(text, workers=shell("exit 8")), **THREE)
    assert (8, 8) == (status, node.json("exit.json")["status"])
    assert "benchd: the other nodes: sh ended with status 8, so the job ends\n" in err


def test_one_node_has_no_others(node: Node) -> None:
    """With one node no worker is started, and srun is not needed."""
    node.tool("srun", "echo srun; exit 1")
    assert (0, "ran\n", "") == node.run(with_company("echo ran", workers=shell("exit 8")))


@pytest.mark.parametrize("nodes_", [1, 3])
def test_a_program_can_run_on_each_node(node: Node, nodes_: int) -> None:
    """It runs once on every node, the first included, and the job ends as the worst of them."""
    node.tool("srun", SRUN)
    (node.job / "try-1" / "targets.env").write_text("BENCHD_TARGET_HOST=n7\n")
    text = 'echo "$BENCHD_NODE_INDEX/$BENCHD_NODES $BENCHD_TARGET_HOST $1"; exit $BENCHD_NODE_INDEX'
    what = case("sh", "-c", text, "sh", NASTY, role=Role.CLIENT, payload={"each_node": True})
    status, out, err = node.run(what, SLURM_JOB_NUM_NODES=str(nodes_))
    expected = [f"{index}/{nodes_} n7 {NASTY}" for index in range(nodes_)]
    assert (nodes_ - 1, expected, "") == (status, sorted(out.splitlines()), err)


@pytest.mark.parametrize("told", [True, False])
def test_data_on_the_nodes_own_disk_goes_with_the_job(node: Node, *, told: bool) -> None:
    """``storage: local`` is a directory of its own that nobody else reads, gone at the end."""
    local = node.workdir / "local"
    local.mkdir()
    text = 'stat -c %a "$BENCHD_DATA"; : >"$BENCHD_DATA/x"; : >"$BENCHD_JOB/on"; '
    what = with_company(text + ("sleep 1000" if told else "exit 3"), {"storage": "local"})
    process = node.start(what, TMPDIR=str(local))
    if told:
        until((node.job / "on").exists)
        assert ["benchd-101"] == [path.name.partition(".")[0] for path in local.iterdir()]
        process.terminate()
    out, _ = process.communicate(timeout=DEADLINE)
    assert (143 if told else 3, b"700\n") == (process.returncode, out)
    assert [] == list(local.iterdir())
    assert "data" not in node.names()


def test_shared_data_stays(node: Node) -> None:
    """Without a word about storage data lies in the job's directory and outlives the job."""
    node.run(with_company('echo kept >"$BENCHD_DATA/x"'))
    assert "kept\n" == _text(node, "data/x")


@pytest.mark.parametrize(
    ("known", "others", "expected"),
    [
        ("10.0.0.7", "10.0.0.7 10.1.0.7", "n7 10.0.0.7 10.0.0.7"),
        ("10.0.0.7\n10.0.0.7", "", "n7 10.0.0.7 10.0.0.7"),
        ("10.0.0.7\n10.1.0.7", "", "n7 10.0.0.7 0.0.0.0"),
        ("127.0.1.1\n10.0.0.7", "", "n7 10.0.0.7 0.0.0.0"),
        ("127.0.1.1", "10.0.0.9 fd00::9", "10.0.0.9 10.0.0.9 10.0.0.9"),
        ("", "10.0.0.9", "10.0.0.9 10.0.0.9 10.0.0.9"),
        ("", "", "127.0.0.1 127.0.0.1 0.0.0.0"),
    ],
)
def test_services_listen_where_they_are_looked_for(
    node: Node, known: str, others: str, expected: str
) -> None:
    """On the one address that the node's name leads to; on all where it might lead elsewhere."""
    node.tool("uname", "echo n7")
    node.tool("getent", "\n".join(f"echo {line} STREAM" for line in known.splitlines()) or "exit 2")
    node.tool("hostname", f"echo {others}")
    what = case("sh", "-c", 'echo "$BENCHD_HOST $BENCHD_HOST_IP $BENCHD_BIND"')
    assert (0, f"{expected}\n", "") == node.run(what)


def test_the_address_to_listen_on_is_one_of_this_machine(node: Node) -> None:
    """A program can listen on BENCHD_BIND and be reached by BENCHD_HOST."""
    _, out, _ = node.run(case("sh", "-c", 'echo "$BENCHD_BIND $BENCHD_HOST"'))
    address, host = out.split()
    with socket.create_server((address, 0)) as server:
        socket.create_connection((host, server.getsockname()[1])).close()
