"""What the wrappers of other people's tools do before, around and after them, really run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from benchd.catalog import CATALOG
from benchd.catalog.clients import llm_tools, wrapped
from benchd.catalog.readings.llm_counters import noted, server_metrics
from benchd.core.spec import JobSpec, Role
from support.node import until
from support.payloads import Up, client, service

LLM_TOOLS = ("vllm-bench", "guidellm", "aiperf")


@contextmanager
def llm(home: Path) -> Iterator[Up]:
    """Run an LLM server that lists a model."""
    with service(home, "sim-llm") as up:
        yield up


def test_an_llm_tool_that_cannot_run_says_what_to_do(tmp_path: Path) -> None:
    """It asks the server for its model first, then whether the tool is there and works."""
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'no module named pandas' >&2\nexit 1\n")
    broken.chmod(0o755)
    with llm(tmp_path) as up:
        absent = [client(tmp_path, kind, up, command="no-such-tool") for kind in LLM_TOOLS]
        worn = client(tmp_path, "guidellm", up, command=str(broken))
        other = client(tmp_path, "aiperf", up, parameters={"model": "nobody"})
    gone = client(tmp_path, "vllm-bench", up)
    assert [done.status for done in absent] == [127, 127, 127]
    assert all("no-such-tool is not installed here; use " in done.said for done in absent)
    assert [dict(done.measured.metrics) for done in absent] == [{}, {}, {}]
    assert worn.status == 126
    assert "does not run; it says: no module named pandas" in worn.said
    assert other.status == 69
    assert "the server has no model nobody; it lists: " in other.said
    assert gone.status == 69
    assert "/v1/models does not list models: " in gone.said


def test_a_wrapper_notes_what_an_llm_server_counts(tmp_path: Path) -> None:
    """Its counters are noted before and after; where they cannot be read nothing fails."""
    script = f"""set -u
{llm_tools.BEFORE}
note_metrics metrics-before.txt
"$python" - "$url/v1/completions" <<'PY'
import sys, urllib.request
body = b'{{"model": "sim-llm", "prompt": "a b", "max_tokens": 3}}'
urllib.request.urlopen(sys.argv[1], body).read()
PY
note_metrics metrics-after.txt
url=$url/no-such-page
note_metrics metrics-never.txt
"""
    with llm(tmp_path) as up:
        url = f"http://{up.host}:{up.port}"
        words = ("sh", "-c", script, "sh", url, str(tmp_path), "60", "1", "", "")
        done = subprocess.run(words, check=False, timeout=60)
    names = ("metrics-before.txt", "metrics-after.txt")
    before, after = noted({f"result/{name}": (tmp_path / name).read_bytes() for name in names})
    delta: Any = server_metrics(before, after)["delta"]
    assert (done.returncode, delta["vllm:generation_tokens_total"]) == (0, 3)
    assert not (tmp_path / "metrics-never.txt").exists()


# Programs in a tool's place, with a child whose number they note, and their status after a second.
STAND_INS = {
    "heeds": ("sleep 300 & {note}; wait", 124),
    "ignores": ("trap '' TERM; sleep 300 & {note}; wait", 124),
    "its child ignores": ("(trap '' TERM; exec sleep 300) & {note}; wait", 124),
    "leaves its child behind": ("sleep 300 & {note}; exit 3", 3),
}


@pytest.mark.real("busybox")
@pytest.mark.parametrize("shell", [("sh",), ("busybox", "sh")], ids=["GNU", "Alpine"])
def test_whatever_a_tool_has_started_ends_with_it(tmp_path: Path, shell: tuple[str, ...]) -> None:
    """A program in a tool's place is over in time, and its children with it, TERM or no TERM."""
    script = f"{wrapped.RUNNING}\nharder='-k 1'\nlimited 1 sh -c \"$1\"\n"
    running = {
        name: subprocess.Popen(
            [*shell, "-c", script, "sh", text.format(note=f'echo $! >"{tmp_path}/{name}"')]
        )
        for name, (text, _) in STAND_INS.items()
    }
    ended = {name: process.wait(timeout=30) for name, process in running.items()}
    assert ended == {name: status for name, (_, status) in STAND_INS.items()}
    assert [name for name in ended if _lives(int((tmp_path / name).read_text()))] == []


@pytest.mark.parametrize(
    ("there", "asked", "expected"),
    [
        ({"first": "exit 0", "second": "exit 0"}, "auto", (0, "first", "")),
        ({"second": "echo second 2.1"}, "auto", (0, "second", "second 2.1")),
        ({"first": "exit 1", "second": "echo second 2.1"}, "auto", (0, "second", "second 2.1")),
        ({"first": "exit 1", "other": "echo 3.0"}, "other", (0, "other", "3.0")),
        ({"first": "echo broken; exit 1"}, "auto", (126, "", "")),
        ({}, "auto", (127, "", "")),
        ({"first": "exit 0"}, "other", (127, "", "")),
    ],
)
def test_the_first_program_that_works_is_taken(
    tmp_path: Path, there: dict[str, str], asked: str, expected: tuple[int, str, str]
) -> None:
    """Stand-ins of two names for one tool: what is broken or absent is passed over, once asked."""
    for name, text in there.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    script = f'{wrapped.RUNNING}\ndir=$1\nchoose "$2" advice first "second --more"\n'
    script += 'echo "$chosen"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", tmp_path, asked],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    noted = tmp_path / "tool.txt"
    lines = noted.read_text().splitlines() if noted.exists() else ["", "", ""]
    assert (done.returncode, done.stdout.strip(), "".join(lines[2:])) == expected
    assert Path(lines[0].removesuffix(" --more")).name == expected[1]


def test_a_tool_that_is_slow_to_say_its_version_delays_no_end(tmp_path: Path) -> None:
    """What is to end while a tool is asked whether it works ends with it, and says so."""
    tool, up = tmp_path / "slow", tmp_path / "up"
    tool.write_text(f"#!/bin/sh\n: >{up}\nsleep 60\n")
    tool.chmod(0o755)
    script = f'{wrapped.RUNNING}\ndir=$1\ntool advice "$2"\necho goes on'
    words = ["sh", "-c", script, "sh", tmp_path, tool]
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as process:
        until(up.exists)
        process.terminate()
        said, _ = process.communicate(timeout=30)
    assert (143, b"", False) == (process.returncode, said, (tmp_path / "heard.txt").exists())


# VectorDBBench's own default, in a package that stands in for it: 2.0.0 cannot write it down.
BROKEN = """\
from pydantic import BaseModel, SecretStr

class ChromaIndexConfig(BaseModel):
    host: SecretStr = "localhost"
"""


class Chroma(BaseHTTPRequestHandler):
    """Answers as a new Chroma does, which has no such collection."""

    dropped: ClassVar[list[str]] = []

    def do_DELETE(self) -> None:
        """Note which collection is to go."""
        self.dropped.append(self.path.rpartition("/")[2])
        self.send_error(404)


def test_vectordbbench_is_mended_before_it_starts(tmp_path: Path) -> None:
    """A default that cannot be written is replaced, and a server that does not answer is said."""
    package = tmp_path / "vectordb_bench" / "backend" / "clients" / "chroma"
    package.mkdir(parents=True)
    (package / "config.py").write_text(BROKEN)
    files = (
        CATALOG.clients["vectordbbench"]
        .payload(JobSpec(role=Role.CLIENT, name="v", kind="vectordbbench"))
        .files
    )
    (tmp_path / "sitecustomize.py").write_text(str(files["mends/sitecustomize.py"]))
    info = tmp_path / "vectordb_bench-2.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vectordb-bench\nVersion: 2.0.0\n")
    write = "from vectordb_bench.backend.clients.chroma.config import ChromaIndexConfig as C\n"
    write += "print(C().model_dump_json())"

    def run(url: str) -> subprocess.CompletedProcess[str]:
        env = {"BENCHD_MENDS": url, "BENCHD_RESULT_DIR": str(tmp_path)}
        env |= {"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]}
        words = [sys.executable, "-c", write]
        return subprocess.run(words, check=False, env=env, capture_output=True, text=True)

    with HTTPServer(("127.0.0.1", 0), Chroma) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.handle_request, daemon=True).start()
        mended = run(url)
    gone = run(url)
    assert Chroma.dropped == ["VectorDBBenchCollection"]
    assert (mended.returncode, mended.stdout) == (0, '{"host":"**********"}\n'), mended.stderr
    assert (tmp_path / "tool.txt").read_text().startswith("vectordb-bench 2.0.0\n")
    assert (gone.returncode, "Traceback" in gone.stderr) == (1, False)
    assert f"benchd: {url} does not answer: " in gone.stderr


def test_data_sets_of_vectordbbench_lie_in_its_job_unless_said(tmp_path: Path) -> None:
    """A client has no directory of data as services have."""
    tool = tmp_path / "tool"
    tool.write_text(
        '#!/bin/sh\n[ "$1" = --version ] || '
        'printf "%s" "${DATASET_LOCAL_DIR#"$BENCHD_JOB"}" >"$RESULTS_LOCAL_DIR/result_1.json"\n'
    )
    tool.chmod(0o755)
    done = client(tmp_path, "vectordbbench", None, command=str(tool))
    assert (0, b"/datasets") == (done.status, done.files.get("result/vectordbbench.json")), (
        done.said
    )


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # it may be dead and not yet collected by whoever adopted it
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.real("shellcheck")
@pytest.mark.parametrize("kind", [*LLM_TOOLS, "vectordbbench"])
def test_wrappers_are_clean_shell(kind: str) -> None:
    """What an LLM tool is wrapped in is POSIX sh without a complaint from shellcheck."""
    payload = CATALOG.clients[kind].payload(JobSpec(role=Role.CLIENT, name=kind, kind=kind))
    text = payload.files[f"{kind}.sh"]
    command = ("shellcheck", "-s", "sh", "-")
    done = subprocess.run(command, input=text, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
