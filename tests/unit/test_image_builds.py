"""How images are made from commands: a stand-in records what each runtime's builder is given."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from benchd.config import RuntimeSettings
from benchd.core.image_builds import login_script
from benchd.core.spec import Container, JobSpec, Role
from support.node import DEADLINE, until
from support.rootfs import busybox_image
from support.script_cases import NASTY

COMMANDS = ("apk add sysbench", f"echo '{NASTY.replace(chr(39), '')}' # not the last")
# Keeps what it is called with and the file that says how to build, and makes what it is asked for.
TOOL = """#!/bin/bash
printf '%s\\n' "$*" >>"$HOME/calls"
while [ $# -gt 0 ]; do
    case $1 in
    *.def | */Dockerfile) cp "$1" "$HOME/${1##*.}"; cp "${1%/*}/build.sh" "$HOME/" 2>/dev/null ;;
    *.part-*) echo image >"$1" ;;
    esac
    shift
done
exit "${TOOL_STATUS:-0}"
"""


def made(home: Path, runtime: str, uid: str = "0", **env: str) -> subprocess.CompletedProcess[str]:
    """Make an image from commands as on a login node, with stand-ins for the builders."""
    for name in ("apptainer", "ch-image", "ch-convert", "podman"):
        (home / name).write_text(TOOL)
        (home / name).chmod(0o755)
    (home / "id").write_text(f"#!/bin/sh\necho {uid}\n")
    (home / "id").chmod(0o755)
    box = Container(
        docker_source="alpine:3", image_path="$HOME/i/x.img", build_commands=COMMANDS, build="login"
    )
    spec = JobSpec(role=Role.IMAGE, name="x", kind="image", container=box)
    return subprocess.run(
        ["bash", "-c", login_script(spec, "t-r-i-x", RuntimeSettings(name=runtime))],
        env={"HOME": str(home), "PATH": f"{home}:{os.environ['PATH']}", **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_definition_file_runs_the_commands_until_one_fails(tmp_path: Path) -> None:
    """Every command stands in %post as it is in the recipe, after `set -e`."""
    assert 0 == made(tmp_path, "apptainer").returncode
    text = (tmp_path / "def").read_text()
    post = "".join(f"    {command}\n" for command in ("set -e", *COMMANDS))
    assert f"Bootstrap: docker\nFrom: alpine:3\n\n%post\n{post}" == text
    assert "--fakeroot" not in (tmp_path / "calls").read_text()
    assert ["x.img", "x.img.benchd.json"] == sorted(p.name for p in (tmp_path / "i").iterdir())
    note = json.loads((tmp_path / "i" / "x.img.benchd.json").read_text())
    assert ("docker://alpine:3", "apptainer", "t-r-i-x") == tuple(
        note[key] for key in ("source", "runtime", "by")
    )


def test_a_plain_user_builds_with_fakeroot_and_is_told_when_that_fails(tmp_path: Path) -> None:
    """What the site has to allow is said beside the builder's own words; nothing is left."""
    done = made(tmp_path, "apptainer", uid="1000", TOOL_STATUS="255")
    assert (255, True) == (done.returncode, "--fakeroot, which the site has to" in done.stderr)
    assert "build --fakeroot" in (tmp_path / "calls").read_text()
    assert [] == list((tmp_path / "i").iterdir())


@pytest.mark.parametrize(("runtime", "calls"), [("charliecloud", 2), ("podman", 2)])
def test_a_dockerfile_runs_the_commands_until_one_fails(
    tmp_path: Path, runtime: str, calls: int
) -> None:
    """The commands are a script of the image, which is run by /bin/sh and removed."""
    assert 0 == made(tmp_path, runtime).returncode
    assert (
        "".join(f"{line}\n" for line in ("set -e", *COMMANDS))
        == (tmp_path / "build.sh").read_text()
    )
    lines = (tmp_path / "calls").read_text().splitlines()
    assert calls == len(lines)
    assert (tmp_path / "i" / "x.img").read_text() == "image\n"


def test_nobody_touches_the_lock_of_a_maker_that_was_killed(tmp_path: Path) -> None:
    """What keeps a lock alive ends with the process that holds it, however that ends."""
    (tmp_path / "apptainer").write_text("#!/bin/bash\nexec sleep 60\n")
    (tmp_path / "apptainer").chmod(0o755)
    box = Container(docker_source="alpine:3", image_path=f"{tmp_path}/x.sif")
    spec = JobSpec(role=Role.IMAGE, name="x", kind="image", container=box)
    script = login_script(spec, "t-r-i-x", RuntimeSettings(name="apptainer"))
    script = script.replace("read -r -t 30 ", "read -r -t 0.05 ")
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    maker = subprocess.Popen(["bash", "-c", script], env=env, start_new_session=True)
    owner = tmp_path / "x.sif.lock" / "owner"
    until(lambda: owner.exists() and owner.read_text().endswith("t-r-i-x\n"))
    before = owner.stat().st_mtime
    until(lambda: owner.stat().st_mtime > before)  # it is touched while the maker lives
    os.kill(int(owner.read_text().split()[1]), signal.SIGKILL)
    maker.wait(DEADLINE)
    until(lambda: "bash" not in _programs(maker.pid))
    os.killpg(maker.pid, signal.SIGKILL)  # the stand-in, which sleeps


def _programs(session: int) -> list[str]:
    """Return the names of the programs that run in a session."""
    lines = subprocess.run(
        ["ps", "-o", "comm=", "--sid", str(session)], capture_output=True, text=True, check=False
    )
    return lines.stdout.splitlines()


@pytest.mark.real("charliecloud", "busybox")
@pytest.mark.parametrize(
    ("path", "last", "status", "found"),
    [
        ("x", "true", 0, ["x", "x.benchd.json"]),
        ("x.sqfs", "true", 0, ["x.sqfs", "x.sqfs.benchd.json"]),
        ("x", "false", 1, []),
    ],
    ids=["directory", "squashfs", "a command that fails"],
)
def test_charliecloud_builds_an_image(
    tmp_path: Path, path: str, last: str, status: int, found: list[str]
) -> None:
    """The real ch-image runs the commands in order, and one that fails leaves nothing.

    What it builds from comes from a store on this machine: no registry is asked.
    """
    root, store = busybox_image(tmp_path / "root"), tmp_path / "store"
    (root / "bin" / "rm").symlink_to("busybox")
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "USER": "me", "TMPDIR": str(tmp_path)}
    image = ["ch-image", "--no-cache", "--storage", str(store), "import", str(root), "base"]
    subprocess.run(image, env=env, check=True, capture_output=True)
    commands = ("echo one >/made", last, "echo two >>/made")
    box = Container(
        docker_source="base", image_path=f"{tmp_path}/i/{path}", build_commands=commands
    )
    spec = JobSpec(role=Role.IMAGE, name="x", kind="image", container=box)
    script = login_script(spec, "t-r-i-x", RuntimeSettings(name="charliecloud"))
    script = script.replace('"$benchd_context/store"', str(store))
    done = subprocess.run(["bash", "-c", script], env=env, check=False, capture_output=True)
    assert (status, found) == (done.returncode, sorted(p.name for p in (tmp_path / "i").iterdir()))
    if (tmp_path / "i" / "x").is_dir():
        assert (tmp_path / "i" / "x" / "made").read_text() == "one\ntwo\n"
        assert not (tmp_path / "i" / "x" / "benchd-build.sh").exists()
