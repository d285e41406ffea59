"""Record what a real slurmrestd answers, into ``tests/data/slurmrestd/<release>``.

    python -m slurm.record_rest                   (PYTHONPATH=daemon:tests)

For another release run it below ``release.sh``. The answers are kept byte for byte, but for the
list of a queue's jobs, which is all that is there anyway.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from slurm.lease import Lease
from slurm.testbed import Testbed, until
from slurm.testbed_files import Options

HOME = Path(__file__).parents[1] / "data" / "slurmrestd"
# Name of a job -> its script. The last two are still there when they are asked for.
JOBS = {
    "done": "true",
    "seven": "exit 7",
    "killed": "kill -9 $$",
    "works": "sleep 60",
    "held": "true",
}
BROKEN = {"partition": "nope", "time_limit": "bogus", "gres": "nogpu:1", "foo": "bar"}


class Asking:
    """Asks one slurmrestd and keeps its answers."""

    def __init__(self, testbed: Testbed) -> None:
        self.testbed = testbed
        self.token = testbed.run("scontrol", "token", "lifespan=600").stdout.strip().split("=")[1]
        self.version = ""
        self.folder = HOME

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> bytes:
        """Return ``<status>``, a line end, and the answer."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.testbed.port('slurmrestd')}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "X-SLURM-USER-NAME": self.testbed.plan.user,
                "X-SLURM-USER-TOKEN": token or self.token,
                "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return b"%d\n%s" % (answer.status, answer.read())
        except urllib.error.HTTPError as error:
            return b"%d\n%s" % (error.code, error.read())

    def keep(self, name: str, answer: bytes) -> None:
        """Write an answer down."""
        (self.folder / f"{name}.txt").write_bytes(answer)

    def submit(self, name: str, **asked: object) -> bytes:
        """Submit a job in the words that all versions have in common."""
        environment: object = ["A=b"] if self.version != "v0.0.38" else {"A": "b"}
        job = {"name": name, "environment": environment, "current_working_directory": "/tmp"}
        script = f"#!/bin/bash\n{JOBS.get(name, 'true')}\n"
        path = f"/slurm/{self.version}/job/submit"
        return self.ask("POST", path, {"script": script, "job": {**job, **asked}})


def main() -> int:
    """Record everything."""
    with Lease(Options(nodes=2, tokens=True)) as lease:
        testbed = lease.testbed
        testbed.up("slurmrestd")
        asking = Asking(testbed)
        specification = json.loads(asking.ask("GET", "/openapi/v3").partition(b"\n")[2])
        versions = {p.split("/")[2] for p in specification["paths"] if p.startswith("/slurm/")}
        asking.version = max(versions)
        release = testbed.run("sbatch", "--version").stdout.split()[-1].rpartition(".")[0]
        asking.folder = HOME / release
        asking.folder.mkdir(parents=True, exist_ok=True)
        paths = json.dumps({"paths": dict.fromkeys(specification["paths"])}, indent=0)
        asking.keep("openapi", b"200\n" + paths.encode())
        _record(asking)
    return 0


def _record(asking: Asking) -> None:
    version, testbed = asking.version, asking.testbed
    for name in JOBS:
        asking.keep(
            f"submit-{name}", asking.submit(name, **({"hold": True} if name == "held" else {}))
        )
    for key, value in BROKEN.items():
        asking.keep(f"submit-{key}", asking.submit("broken", **{key: value}))
    ended = {"done", "seven", "killed"}
    until(lambda: ended <= _names(testbed, "COMPLETED,FAILED"), 30.0)
    until(lambda: "works" in _names(testbed, "RUNNING"), 30.0)
    until(lambda: all(_is_accounted(testbed, name) for name in ended), 30.0)
    books = f"/slurmdb/{version}/jobs?submit_time=uts1700000000&skip_steps=true&job_name="
    asking.keep("jobs", asking.ask("GET", f"/slurm/{version}/jobs"))
    asking.keep("books", asking.ask("GET", f"{books}{'%2C'.join(JOBS)}"))
    asking.keep("books-nothing", asking.ask("GET", f"{books}nobody"))
    asking.keep("cancel-unknown", asking.ask("DELETE", f"/slurm/{version}/job/4000000"))
    asking.keep("cancel-ended", asking.ask("DELETE", f"/slurm/{version}/job/1"))
    asking.keep("no-such-path", asking.ask("GET", "/slurm/v0.0.99/jobs"))
    forged = asking.token[:-6] + "AAAAAA"
    asking.keep("refused-jobs", asking.ask("GET", f"/slurm/{version}/jobs", token=forged))
    asking.keep("refused-books", asking.ask("GET", f"{books}nobody", token=forged))
    testbed.ctl("down", "slurmdbd")
    asking.keep("books-down", asking.ask("GET", f"{books}nobody"))
    testbed.ctl("down", "slurmctld")
    asking.keep("down-jobs", asking.ask("GET", f"/slurm/{version}/jobs"))
    asking.keep("down-submit", asking.submit("done"))


def _names(testbed: Testbed, states: str) -> set[str]:
    return set(testbed.run("squeue", "-h", "-t", states, "-o", "%j").stdout.split())


def _is_accounted(testbed: Testbed, name: str) -> bool:
    told = testbed.run("sacct", "-X", "-n", "-P", f"--name={name}", "-o", "End").stdout
    return bool(told.strip()) and "Unknown" not in told


if __name__ == "__main__":
    sys.exit(main())
