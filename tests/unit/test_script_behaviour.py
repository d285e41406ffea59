"""What the batch script does when bash really runs it in a job directory."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchd.core.payload import Sh
from benchd.core.spec import Role
from support.node import DEADLINE, Node, nodes, until
from support.script_cases import NASTY, SHIP, TOKEN, Case, case


@pytest.fixture(name="node")
def a_node(tmp_path: Path) -> Iterator[Node]:
    """Return a node whose job directory holds try 1."""
    yield from nodes(tmp_path)


def client(*argv: str | Sh) -> Case:
    """Return a client that runs ``argv``."""
    return case(*argv, role=Role.CLIENT)


def test_the_first_wins_the_claim_and_leaves_its_status(node: Node) -> None:
    """A script that finds no claim takes it, runs the payload and records its end."""
    before = int(time.time())
    assert (0, "hello\n", "") == node.run(case("echo", "hello"))
    assert (node.job / "claim").readlink() == Path("101")
    exit_json = node.json("exit.json")
    times = [exit_json.pop("started_at"), exit_json.pop("ended_at")]
    assert {"slurm_id": "101", "generation": 0, "status": 0} == exit_json
    assert [before, *times, int(time.time())] == sorted([before, *times, int(time.time())])
    assert ["claim", "data", "endpoint.json", "exit.json", "result"] == node.names()


@pytest.mark.parametrize("status", [0, 7, 75, 255])
def test_the_status_is_the_payloads(node: Node, status: int) -> None:
    """The script ends with the payload's real status, and says the same in exit.json."""
    assert status == node.run(case("sh", "-c", f"exit {status}"))[0]
    assert status == node.json("exit.json")["status"]


def test_a_program_that_is_not_there_is_127(node: Node) -> None:
    """A missing program is the shell's usual 127, with its name in the output."""
    status, _, err = node.run(case("no-such-program", environment={"A": "1"}))
    assert (127, True) == (status, "no-such-program" in err)
    assert node.json("exit.json")["status"] == 127


def test_a_payload_killed_by_a_signal_is_128_and_the_signal(node: Node) -> None:
    """A payload that died of SIGKILL is recorded as 137 by a script that lives on."""
    assert node.run(case("sh", "-c", "kill -KILL $$"))[0] == 137
    assert node.json("exit.json")["status"] == 137


def test_a_twin_leaves_a_marker_and_touches_nothing(node: Node) -> None:
    """Another Slurm job with the same directory ends with 75 and changes nothing of the owner's."""
    node.run(case("true"))
    before = {name: (node.job / name).lstat().st_mtime_ns for name in node.names()}
    status, out, err = node.run(case("touch", Sh('"$JOB/ran"')), slurm_id="102")
    assert (75, "") == (status, out)
    assert err == "benchd: nothing to do for Slurm job 102: the work belongs to '101'\n"
    assert sorted([*before, "twin-102"]) == node.names()
    assert before == {name: (node.job / name).lstat().st_mtime_ns for name in before}


@pytest.mark.parametrize("status", [0, 3])
def test_a_second_start_of_what_ended_says_how_it_ended(node: Node, status: int) -> None:
    """When Slurm starts a generation again that has ended, the payload does not run again."""
    payload = case("sh", "-c", f'echo ran >>"$BENCHD_RESULT_DIR/x"; exit {status}')
    first, again = node.run(payload), node.run(payload)
    assert (status, status) == (first[0], again[0])
    assert "benchd: nothing is done twice: Slurm lost track of job 101 " in again[2]
    assert "ran\n" == (node.job / "result" / "x").read_text()


def test_a_second_start_of_what_was_killed_is_76(node: Node) -> None:
    """When Slurm starts a generation again that left no end, it is no second run but a failure."""
    (node.job / "claim").symlink_to("101")
    (node.job / "try-1" / "span-0").mkdir()
    assert 76 == node.run(case("touch", Sh('"$JOB/ran"')))[0]
    assert ["claim"] == node.names()


def test_a_sealed_job_does_not_start(node: Node) -> None:
    """A job that was cancelled before it was known meets the seal: marker, 75, no exit.json."""
    (node.job / "claim").symlink_to("sealed")
    assert node.run(case("true"))[0] == 75
    assert ["claim", "twin-101"] == node.names()


def test_a_requeued_job_enters_again(node: Node) -> None:
    """The same Slurm id passes its own claim, under a new generation and without old files."""
    node.run(case("sh", "-c", 'echo old >"$BENCHD_RESULT_DIR/x"', ports=("auto",)))
    seen = 'cat "$JOB/exit.json" 2>&1; ls "$BENCHD_RESULT_DIR" | grep -v ^benchd-; :'
    looking = case("sh", "-c", Sh(f"'JOB=$1; {seen}'"), "sh", Sh('"$JOB"'), ports=("auto",))
    status, out, _ = node.run(looking, restarts=1)
    assert (0, True) == (status, out.endswith("No such file or directory\n"))
    assert (node.json("exit.json")["generation"], node.json("endpoint.json")["generation"]) == (
        1,
        1,
    )
    assert (node.job / "result.before-1" / "x").read_text() == "old\n"


def test_a_stale_endpoint_is_gone_before_the_payload_starts(node: Node) -> None:
    """A restarted service never shows the endpoint of its earlier life."""
    (node.job / "claim").symlink_to("101")
    for name in ("endpoint.json", "exit.json"):
        (node.job / name).write_text("stale")
    taken = socket.create_server(("127.0.0.1", 0))
    with taken:
        assert node.run(case("true", ports=(taken.getsockname()[1],)), restarts=1)[0] == 1
    assert "endpoint.json" not in node.names()
    assert node.json("exit.json")["status"] == 1


def test_a_directory_that_is_not_seen_is_78(node: Node) -> None:
    """Without its job directory a script runs nothing and tries to leave a marker beside it."""
    (node.job / "try-1").rmdir()
    node.job.rmdir()
    status, out, err = node.run(case("echo", "ran"))
    assert (78, "") == (status, out)
    assert "workdir must be on a file system that compute nodes mount" in err
    assert [f"{TOKEN}.unseen-101"] == [p.name for p in node.job.parent.iterdir()]


def test_a_look_alike_of_the_directory_is_78(node: Node) -> None:
    """A directory of the same name without the try is not the shared one."""
    (node.job / "try-1").rmdir()
    assert node.run(case("true"))[0] == 78
    assert ["unseen-101"] == node.names()


def test_no_claim_to_be_had_is_78(node: Node) -> None:
    """Where no link can be made nothing runs: there is no run without a fence."""
    (node.job / "claim").mkdir()  # stands for a full or read-only file system
    node.tool("sleep", "exit 0")
    status, out, err = node.run(case("echo", "ran"))
    assert (78, "", True) == (status, out, "no claim can be made" in err)
    assert ["claim", "unseen-101"] == node.names()


def test_outside_slurm_nothing_runs(node: Node) -> None:
    """A script started by hand says what it is for."""
    status, out, err = node.run(case("echo", "ran"), slurm_id="")
    assert (78, "") == (status, out)
    assert err == "benchd: SLURM_JOB_ID is not set: this script is for sbatch, not for a shell\n"


def started(node: Node) -> bool:
    """Tell whether the payload made its file."""
    return (node.job / "up").exists()


def test_term_reaches_the_payload_and_is_recorded(node: Node) -> None:
    """SIGTERM to the script kills a payload that does not care, and exit.json says 143."""
    process = node.start(
        case("bash", "-c", Sh("""': >"$0"; exec sleep 1000'"""), Sh('"$JOB/up"')),
    )
    until(lambda: started(node))
    process.terminate()
    process.communicate(timeout=DEADLINE)
    assert (143, 143) == (process.returncode, node.json("exit.json")["status"])


@pytest.mark.parametrize("name", ["TERM", "INT", "USR1", "USR2"])
def test_a_payload_may_answer_a_signal(node: Node, name: str) -> None:
    """The payload's own handler runs, and the status it chooses is the one recorded."""
    text = f"""'trap "exit 5" {name}; : >"$0"; while :; do read -r -t 1000 <>"$1"; done'"""
    os.mkfifo(node.job / "pipe")  # something to block on without a child
    process = node.start(case("bash", "-c", Sh(text), Sh('"$JOB/up"'), Sh('"$JOB/pipe"')))
    until(lambda: started(node))
    process.send_signal(getattr(signal, f"SIG{name}"))
    process.communicate(timeout=DEADLINE)
    assert (5, 5) == (process.returncode, node.json("exit.json")["status"])


def test_the_whole_process_group_gets_the_signal(node: Node) -> None:
    """A child of the payload is told as well, not only the payload."""
    text = (
        """'trap : TERM; (trap "echo child; exit" TERM; : >"$0"; while :; do sleep 0.01; done)'"""
    )
    process = node.start(case("bash", "-c", Sh(text), Sh('"$JOB/up"')))
    until(lambda: started(node))
    process.terminate()
    out, _ = process.communicate(timeout=DEADLINE)
    assert (b"child\n", True) == (out, (node.job / "exit.json").exists())


def test_a_signal_to_everybody_at_once_does_not_hide_the_status(node: Node) -> None:
    """Told all at once, as scancel does, a script still records what its payload chose to say."""
    text = """'trap "exit 3" TERM; : >"$0"; while :; do sleep 0.01; done'"""
    for turn in range(10):  # bash loses about one status in four when its own `wait` is trusted
        process = node.start(case("bash", "-c", Sh(text), Sh('"$JOB/up"')), restarts=turn)
        until(lambda: started(node))
        for pid in node.processes(process.pid):
            with contextlib.suppress(ProcessLookupError):  # it may end after it was listed
                os.kill(pid, signal.SIGTERM)
        process.communicate(timeout=DEADLINE)
        assert (3, 3) == (process.returncode, node.json("exit.json")["status"])
        (node.job / "up").unlink()


def test_what_the_payload_leaves_running_does_not_outlive_it(node: Node) -> None:
    """When the payload has ended its remaining children are killed, as Slurm would."""
    leaves = case("sh", "-c", Sh("""'sleep 1000 >/dev/null 2>&1 & echo $!'"""))
    status, out, _ = node.run(leaves)
    assert status == 0
    until(lambda: not _lives(int(out)))


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_client_learns_its_targets(node: Node) -> None:
    """targets.env of the try is exported to the payload."""
    (node.job / "try-1" / "targets.env").write_text(
        "BENCHD_TARGET_HOST=n1\nBENCHD_TARGET_PORT=6379\nBENCHD_TARGET_URL='http://n1:6379'\n"
    )
    shown = client("sh", "-c", 'echo "$BENCHD_TARGET_URL"; pwd; ls "$BENCHD_RESULT_DIR"')
    status, out, err = node.run(shown)
    assert (0, "http://n1:6379", "") == (status, out.split("\n")[0], err)
    assert "endpoint.json" not in node.names()
    assert (node.job / "result").is_dir()


def test_a_client_without_targets_says_so(node: Node) -> None:
    """A try directory without targets.env is an error with its path, not a strange measurement."""
    status, _, err = node.run(client("true"))
    path = f"{node.job}/try-1/targets.env"
    assert (1, f"benchd: {path} cannot be read\n") == (status, err)


def test_picked_ports_are_free_different_and_published(node: Node) -> None:
    """``auto`` ports lie in 20000-32000, differ, and stand in endpoint.json with the host."""
    shown = 'echo "$BENCHD_PORT $BENCHD_PORT_0 $BENCHD_PORT_1 $BENCHD_PORT_2"; echo "$BENCHD_HOST"'
    _, out, err = node.run(case("sh", "-c", shown, ports=("auto", 31999, "auto")))
    first, *ports = (int(word) for word in out.split("\n")[0].split())
    assert ("", first) == (err, ports[0])
    assert [len(set(ports)), ports[1]] == [3, 31999]
    assert all(20000 <= port <= 32000 for port in ports)
    host = out.split("\n")[1]
    expected = {"slurm_id": "101", "generation": 0, "host": host, "ports": ports}
    assert expected == node.json("endpoint.json")


def test_others_can_reach_the_host_it_names(node: Node) -> None:
    """BENCHD_HOST leads to this machine, and BENCHD_HOST_IP is an IPv4 address of it."""
    _, out, _ = node.run(case("sh", "-c", 'echo "$BENCHD_HOST $BENCHD_HOST_IP"'))
    host, address = out.split()
    assert address in {str(info[4][0]) for info in socket.getaddrinfo(host, None, socket.AF_INET)}
    with socket.create_server((address, 0)) as server:
        socket.create_connection((host, server.getsockname()[1])).close()


def test_a_taken_port_is_said_and_nothing_starts(node: Node) -> None:
    """A fixed port on which something answers ends the job with the port and the way out."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        status, out, err = node.run(case("echo", "ran", ports=(port,)))
    assert (1, "") == (status, out)
    assert f"port {port} is taken on " in err
    assert "'ports: [auto]'" in err
    assert (1, False) == (node.json("exit.json")["status"], "endpoint.json" in node.names())


def test_a_full_node_ends_after_a_bounded_search(node: Node) -> None:
    """When something answers everywhere the search for a port gives up with a message."""
    node.tool("timeout", "exit 0")  # every look finds a port taken
    status, _, err = node.run(case("true", ports=("auto",)))
    assert (1, True) == (status, "no free port found" in err)


def test_nasty_texts_arrive_as_they_are(node: Node) -> None:
    """Arguments, environment and files reach the payload byte for byte; nothing is run."""
    shown = case(
        *("sh", "-c", 'printf "%s\\n" "$@"; printf "%s\\n" "$X"', "sh", NASTY, "", "-n", "a=b"),
        environment={"X": NASTY},
        payload={"files": {"d/f": f"{NASTY}\n#SBATCH --x"}},
    )
    status, out, err = node.run(shown)
    assert (0, "") == (status, err)
    assert [NASTY, "", "-n", "a=b", NASTY, ""] == out.split("\n")
    assert (node.job / "d" / "f").read_text() == f"{NASTY}\n#SBATCH --x"
    assert list(node.workdir.rglob("pwned")) == []


def test_the_users_environment_cannot_replace_ours(node: Node) -> None:
    """Variables of the script's own names reach the payload but do not steer the script."""
    taken = {"JOB": "/x", "ID": "9", "SLURM_JOB_ID": "9", "GENERATION": "8", "UID": "7"}
    shown = case("sh", "-c", 'echo "$JOB $ID $SLURM_JOB_ID $GENERATION $UID"', environment=taken)
    assert (0, "/x 9 9 8 7\n", "") == node.run(shown)
    assert ("101", 0) == (node.json("exit.json")["slurm_id"], node.json("exit.json")["generation"])


def test_a_program_with_an_equals_sign_is_a_program(node: Node) -> None:
    """A program called ``a=b`` is run, not taken for a variable."""
    node.tool("a=b", 'echo "ran $1 $X"')
    assert (0, "ran 1 2\n", "") == node.run(case("a=b", "1", environment={"X": "2"}))


def test_shipped_programs_are_found_below_the_workdir(node: Node) -> None:
    """BENCHD_SHIP_LLM is the file in W/ship; one that is gone is said before the payload starts."""
    what = case("cat", Sh('"$BENCHD_SHIP_LLM"'), payload={"ship": ("llm",)})
    status, out, err = node.run(what)
    assert (1, "", True) == (status, out, f"ship/{SHIP['llm']} cannot be read" in err)
    (node.workdir / "ship" / what.ship["llm"]).write_text("zip\n")
    assert (0, "zip\n", "") == node.run(what, restarts=1)


def test_the_preamble_runs_in_front_of_the_payload(node: Node) -> None:
    """Lines of the catalogue's run on the host first and may set what its argv expands."""
    lines = ("greeting=$BENCHD_TOKEN", 'cd "$BENCHD_RESULT_DIR"')
    what = case("sh", "-c", 'echo "$0"; pwd', Sh('"$greeting"'), payload={"preamble": lines})
    assert (0, f"{TOKEN}\n{node.job}/result\n", "") == node.run(what)
