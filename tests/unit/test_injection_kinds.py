"""Whatever kind, whatever container runtime: what a recipe says stays data, also in real bash."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchd.catalog import CATALOG
from benchd.config import RuntimeSettings
from benchd.core.expand import expand
from benchd.core.model import Job
from benchd.core.recipe import parse
from benchd.core.runtimes import KINDS
from benchd.core.script import sbatch_lines
from benchd.core.spec import Role
from benchd.errors import RecipeError
from benchd.fields import Resources
from support.recipe_cases import SHIPPED

# One line that leaves its mark wherever a shell reads it, in whichever quotes it ends up.
EVIL = (
    "x$(touch PWNED)`touch PWNED`;touch PWNED;';touch PWNED;'\";touch PWNED;\"}) ;touch PWNED #%j"
)
PATH = f"$HOME/{EVIL}"
CANARY = "CANARY-7f3a09"
SECRETS = {name: {"generate": 24} for name in ("REDIS_PASSWORD", "VLLM_API_KEY", "A_KEY")}
CONTAINER = {"docker_source": "redis:7", "image_path": "$HOME/tools/image"}
# What a kind cannot do without.
NEEDS: dict[str, dict[str, Any]] = {
    "generic": {"command": "run it"},
    "mysql": {"secrets": {"MYSQL_ROOT_PASSWORD": {"generate": 24}}},
    "postgresql": {"secrets": {"POSTGRES_PASSWORD": {"generate": 24}}},
    "minio": {"secrets": {"MINIO_ROOT_PASSWORD": {"generate": 24}}},
    "vllm": {"parameters": {"model": "m"}},
    "qdrant": {"command": "qdrant"},
    "triton": {"parameters": {"model_repository": "$HOME/tools"}},
    "ollama": {"parameters": {"model": "m", "models_dir": "$HOME/models"}},
    "script": {"script": {"name": "bench.py", "text": "#!/usr/bin/env python3\n"}},
}
# Where a text may stand, and the text; taken where the recipe is accepted with it.
TEXTS: tuple[tuple[tuple[str | int, ...], Any], ...] = (
    (("description",), EVIL),
    (("args",), [EVIL]),
    (("environment",), {"A": EVIL}),
    (("container", "bind_mounts"), [PATH, f"{EVIL}:{EVIL}:ro"]),
    (("setup_script",), f"exit 0 # {EVIL}\n"),
    (("init_script",), f"-- {EVIL}\n"),
    (("monitoring_targets",), [{"host": "h", "port": 1, "job_name": EVIL}]),
    (("exporters",), ["node", "process", "job"]),
    (("script", "text"), f"#!/usr/bin/env python3\n# {EVIL}\n"),
    (("script", "remote_path"), PATH),
    (("output",), {"file": PATH, "shared_dir": PATH}),
)
# Programs that are only written down: all that a script may call and that could do something.
DUMB = (
    "run touch sh python3 srun apptainer singularity ch-run ch-image ch-convert podman enroot pip "
    "redis-server ollama vllm redis-benchmark tritonserver prometheus grafana loki minio qdrant "
    "chroma cadvisor node_exporter"
)
REAL = (
    "bash cat cp cut date dirname basename env getent grep head hostname id kill ln mkdir mktemp "
    "mv nice ps readlink rm sed sleep sort stat tail timeout tr uname wc xargs"
)
DUMP = """
printf '%s\\0' "${{0##*/}}" "$@" >>{dumped}
"""
PARTS = [
    *((Role.SERVICE, name) for name in sorted(CATALOG.services)),
    *((Role.CLIENT, name) for name in sorted(CATALOG.clients)),
]


def base(role: Role, kind: str) -> dict[str, Any]:
    """Return the smallest recipe with a part of a kind, in a container."""
    part: dict[str, Any] = {"name": "part", "kind": kind, "container": dict(CONTAINER)}
    part |= copy.deepcopy(NEEDS.get(kind, {}))
    if role is Role.SERVICE:
        return {"service": part | {"ports": ["auto"] * len(CATALOG.services[kind].ports)}}
    if kind == "rag-load":
        return {"client": part | {"target_services": [{"name": "a"}, {"name": "b"}]}}
    return {"client": part | {"target_service": {"name": "web"}}}


def jobs(recipe: dict[str, Any], runtime: RuntimeSettings) -> tuple[Job, ...]:
    """Return the jobs of a recipe, those that make images as well."""
    return expand(
        parse(json.dumps(recipe).encode(), "web.yaml", CATALOG),
        run_id="k5wz3tqa2f",
        instance="bq7x2m",
        cluster="here",
        defaults=Resources(),
        runtime=runtime,
        catalog=CATALOG,
        ship=SHIPPED,
        now=0.0,
    )


def is_taken(recipe: dict[str, Any]) -> bool:
    """Tell whether a recipe is accepted; nothing but a refusal may come of it otherwise."""
    try:
        parse(json.dumps(recipe).encode(), "web.yaml", CATALOG)
    except RecipeError:
        return False
    return True


def with_text(recipe: dict[str, Any], place: tuple[str | int, ...], text: Any) -> dict[str, Any]:
    """Return a recipe that says a text at a place of its part."""
    changed = copy.deepcopy(recipe)
    at = next(iter(changed.values()))
    for key in place[:-1]:
        at = at.setdefault(key, {})
    at[place[-1]] = {**at.get(place[-1], {}), **text} if isinstance(text, dict) else text
    return changed


def attacked(role: Role, kind: str) -> tuple[dict[str, Any], set[str]]:
    """Return a recipe with the text wherever this kind takes it, and where that is."""
    recipe, taken = base(role, kind), set()
    assert is_taken(recipe), kind
    book = CATALOG.services if role is Role.SERVICE else CATALOG.clients
    free = [p.name for p in book[kind].parameters if p.type == "str"]
    places = [*TEXTS, *((("parameters", name), EVIL) for name in [*free, "any_name"])]
    places += [(("parameters", name), PATH) for name in free]
    for place, text in places:
        changed = with_text(recipe, place, text)
        if is_taken(changed):
            recipe = changed
            taken.add(".".join(map(str, place)))
    return recipe, taken


def machine(home: Path) -> dict[str, str]:
    """Return an environment in which programs are written down and do nothing."""
    tools = home / "tools"
    tools.mkdir(parents=True)
    for name in REAL.split():
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    for name in DUMB.split():
        (tools / name).write_text(DUMP.format(bash=shutil.which("bash"), dumped=home / "dumped"))
        (tools / name).chmod(0o755)
    (tools / "image").touch()
    return {"PATH": str(tools), "HOME": str(home), "TMPDIR": str(home)}


def run(job: Job, home: Path) -> list[str]:
    """Run a job's script on such a machine; return all words of all programs, and what it said."""
    env = machine(home) | {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1"}
    place = home / "W" / "runs" / "r" / "jobs" / "t"
    (place / "try-1").mkdir(parents=True)
    (place / "try-1" / "targets.env").write_text(
        "".join(
            f"export BENCHD_TARGET{name}_{key}={value}\n"
            for name in ("", "_WEB", "_A", "_B")
            for key, value in {"HOST": "h", "PORT": 1, "URL": "http://h:1"}.items()
        )
        + "export BENCHD_TARGETS=h:1 BENCHD_TARGET_URLS=http://h:1\n"
    )
    names = " ".join(job.spec.secrets)
    secrets = "".join(f"{name}={CANARY}\n" for name in job.spec.secrets)
    (place / "try-1" / "secret.env").write_text(f"{secrets}BENCHD_SECRETS='{names}'\n")
    (home / "W" / "ship").mkdir()
    for name in SHIPPED.values():
        (home / "W" / "ship" / name).touch()
    (place / "script.sh").write_text(job.script)
    command = ["timeout", "20", "bash", str(place / "script.sh"), str(place), "1"]
    done = subprocess.run(command, env=env, cwd=home, capture_output=True, check=False)
    assert done.returncode != 124, done.stderr
    dumped = home / "dumped"
    words = dumped.read_bytes().decode().split("\0")[:-1] if dumped.exists() else []
    return [*words, done.stderr.decode()]


def check_text(job: Job) -> None:
    """Check that sbatch and bash read in a script what benchd meant."""
    lines = job.script.split("\n")
    expected = sbatch_lines(job.spec.resources, requeue=job.spec.restart.requeue)
    assert expected == [line for line in lines if line.lstrip().startswith("#SBATCH")]
    done = subprocess.run(
        ["bash", "-n"], input=job.script.encode(), capture_output=True, check=False
    )
    assert (0, b"") == (done.returncode, done.stderr)


def has_run(words: list[str]) -> bool:
    """Tell whether a program was started that only the text names."""
    return ("touch", "PWNED") in pairwise(words)


def test_the_machine_would_notice(tmp_path: Path) -> None:
    """A naive script, run on the same machine, does what the text says."""
    (job,) = jobs(base(Role.SERVICE, "redis"), RuntimeSettings())
    assert has_run(run(replace(job, script=f'#!/bin/bash\nrun "{EVIL}"\n'), tmp_path))


@pytest.mark.parametrize(("role", "kind"), PARTS, ids=[f"{r}-{k}" for r, k in PARTS])
def test_no_kind_runs_what_a_recipe_says(role: Role, kind: str, tmp_path: Path) -> None:
    """Wherever a kind takes any text, real bash hands it on and runs nothing of it."""
    recipe, taken = attacked(role, kind)
    assert {"description", "args", "environment", "container.bind_mounts"} <= taken
    for number, job in enumerate(jobs(recipe, RuntimeSettings())):
        check_text(job)
        words = run(job, tmp_path / str(number))
        assert not has_run(words)
        assert any(EVIL in word for word in words[:-1]), words[-1]  # it did come so far


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        *((name, []) for name in sorted(KINDS)),
        *((name, [EVIL]) for name in ("apptainer", "charliecloud", "podman", "singularity")),
    ],
)
def test_no_runtime_runs_what_a_recipe_says(name: str, commands: list[str], tmp_path: Path) -> None:
    """Images, their sources and commands, mounts and variables reach each runtime as they are."""
    runtime = RuntimeSettings(name=name, module=None, cache=f"$HOME/{EVIL}")  # type: ignore[arg-type] # by name
    box = {"docker_source": f"docker://{EVIL}", "bind_mounts": [PATH, f"{EVIL}:{EVIL}:ro"]}
    part = {"name": "web", "kind": "generic", "command": "run it", "args": [EVIL]}
    part |= {"environment": {"A": EVIL}, "ports": ["auto"]}
    for build in ("inside", "job"):
        container = box | {"build": build, "build_commands": commands}
        made = jobs({"service": part | {"container": container}}, runtime)
        words = [w for job in made for w in run(job, tmp_path / f"{build}-{job.role}")[:-1]]
        assert not has_run(words)
        assert any(EVIL in word for word in words)
        for job in made:
            check_text(job)
    there = {"image_path": "$HOME/tools/image", "bind_mounts": box["bind_mounts"]}
    (job,) = jobs({"service": part | {"container": there}}, runtime)
    words = run(job, tmp_path / "there")
    assert not has_run(words)
    assert EVIL in words


def test_a_script_with_the_line_ends_of_dos_is_sent_as_it_is(tmp_path: Path) -> None:
    """A batch script that has them is refused by sbatch; the program gets them all the same."""
    text = "#!/usr/bin/env python3\r\nprint(1)\r\n"
    part = {"name": "part", "kind": "script", "script": {"name": "bench.py", "text": text}}
    part["parameters"] = {"greeting": "a\r\nb", "place": "\r\n$HOME\r\n"}
    (job,) = jobs({"client": part}, RuntimeSettings())
    assert "\r" not in job.script
    words = run(job, tmp_path)
    sent = tmp_path / "W" / "runs" / "r" / "jobs" / "t" / "script" / "bench.py"
    assert text.encode() == sent.read_bytes()
    assert ["--greeting=a\r\nb", f"--place=\r\n{tmp_path}\r\n"] == words[-3:-1]


def has_canary(job: Job, words: list[str], home: Path) -> bool:
    """Tell whether a secret stands in a script, on a command line, in what was said, in a file."""
    left = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
    seen = [job.script.encode(), *(word.encode() for word in words), *left]
    return any(CANARY.encode() in each for each in seen)


@pytest.mark.parametrize(("role", "kind"), PARTS, ids=[f"{r}-{k}" for r, k in PARTS])
def test_no_kind_shows_a_secret(role: Role, kind: str, tmp_path: Path) -> None:
    """None is on a command line of any program of a kind, in its output, or left in a file."""
    recipe = with_text(base(role, kind), ("secrets",), SECRETS)
    recipe = with_text(recipe, ("environment",), {"A": "1"})
    if role is Role.SERVICE:
        recipe = with_text(recipe, ("exporters",), ["job", "node"])
    (job,) = jobs(recipe, RuntimeSettings())
    words = run(job, tmp_path)
    assert len(words) > 1, words  # it did come so far
    assert not has_canary(job, words, tmp_path)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_no_runtime_shows_a_secret(name: str, tmp_path: Path) -> None:
    """A runtime is told the names of secrets, never what they are."""
    part = {"name": "web", "kind": "generic", "command": "run it", "secrets": SECRETS}
    part |= {"container": {"image_path": "$HOME/tools/image"}, "ports": ["auto"]}
    (job,) = jobs({"service": part}, RuntimeSettings(name=name))  # type: ignore[arg-type] # by name
    words = run(job, tmp_path)
    assert "it" in words
    assert not has_canary(job, words, tmp_path)


def test_what_a_client_waits_for_is_no_command(tmp_path: Path) -> None:
    """The endpoint of a target is asked for as it is written, and quoted when nobody answers."""
    target = {"name": "web", "health_check_endpoint": f"/{EVIL}"}
    part = {"name": "part", "kind": "generic", "command": "run it", "target_service": target}
    part["parameters"] = {"wait_for_service": 0}
    (job,) = jobs({"client": part}, RuntimeSettings())
    words = run(job, tmp_path)
    assert not has_run(words)
    assert f"http://h:1/{EVIL} did not answer well within 0 s" in words[-1]
