"""Commands in real containers, in jobs of a real Slurm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchd.config import RuntimeSettings
from benchd.core.model import Trigger
from benchd.core.payload import Sh, Step
from benchd.core.spec import Container, Secret
from benchd.edge.submission import secret_env
from benchd.fields import Resources
from slurm.place import DEADLINE, Place, place_for
from slurm.testbed import until
from support.reality import INSTALLED
from support.realslurm import RealSlurm
from support.rootfs import busybox_image
from support.script_cases import NASTY, TOKEN, Case, case

CHARLIECLOUD = RuntimeSettings(name="charliecloud")
APPTAINER = RuntimeSettings(name="apptainer")
every_runtime = pytest.mark.parametrize(
    "runtime",
    [
        pytest.param(CHARLIECLOUD, marks=pytest.mark.real("slurm", "charliecloud", "busybox")),
        pytest.param(
            APPTAINER, marks=[pytest.mark.heavy, pytest.mark.real("slurm", "apptainer", "busybox")]
        ),
    ],
    ids=lambda runtime: runtime.name,
)
# What a container shows of itself: variables, what it is, what it may write.
LOOK = """exec >"$1/seen"; env; echo ---; cat /etc/image; pwd; cat /data/x
touch /no 2>/dev/null || echo read-only; touch "$BENCHD_DATA/yes" && echo data; exit 6"""


@pytest.fixture(name="place")
def a_place(real_slurm: RealSlurm, request: pytest.FixtureRequest) -> Place:
    """Return a job directory whose job is named after the test."""
    return place_for(real_slurm, request.node.originalname)


@pytest.fixture(name="image")
def an_image(tmp_path: Path) -> Path:
    """Return an image that is a directory."""
    return busybox_image(tmp_path / "image")


@dataclass(frozen=True, kw_only=True)
class OnPath(Case):
    """A job on whose node a program of the tests is installed."""

    def render(self, token: str = TOKEN) -> str:
        """Return the script, with the program's directory on PATH."""
        first, _, rest = super().render(token).partition("set -u\n")
        return f"{first}export PATH={INSTALLED.parent}:$PATH\nset -u\n{rest}"


def job(*argv: str | Sh, **over: Any) -> Case:
    """Return a job of any runtime."""
    what = case(*argv, **over)
    return OnPath(spec=what.spec, payload=what.payload, runtime=what.runtime)


@every_runtime
def test_a_container_sees_what_it_is_given(
    place: Place, image: Path, tmp_path: Path, runtime: RuntimeSettings
) -> None:
    """The listed variables, secrets, mounts and data, the image read-only; and nothing else."""
    (tmp_path / "mounted").mkdir()
    (tmp_path / "mounted" / "x").write_text("mounted\n")
    (place.job / "try-1").mkdir()
    (place.job / "try-1" / "secret.env").write_text(secret_env({"A_PASSWORD": NASTY}))
    what = job(
        *("sh", "-c", LOOK, "sh", Sh('"$JOB"')),
        runtime=runtime,
        container=Container(image_path=str(image), bind_mounts=(f"{tmp_path}/mounted:/data:ro",)),
        secrets={"A_PASSWORD": Secret(generate=24)},
        environment={"MOTTO": NASTY, "QUOTED": "'it''s'", "BARE": ""},
        payload={"environment": {"PORT": Sh('"$BENCHD_PORT"')}},
        resources=Resources(gres="gpu:1"),
        ports=("auto",),
        storage="local",
    )
    slurm_id = place.submit(what)
    assert 6 == place.sees(slurm_id, Trigger.SEEN_FAILED).exit_code, place.told(slurm_id)
    variables, _, rest = (place.job / "seen").read_text().partition("---\n")
    env = dict(line.split("=", 1) for line in variables.splitlines())
    assert f"busybox\n{place.job}\nmounted\nread-only\ndata\n" == rest
    assert {
        "MOTTO": NASTY,
        "QUOTED": "'it''s'",
        "BARE": "",
        "A_PASSWORD": NASTY,
        "PORT": env["BENCHD_PORT"],
        "SLURM_JOB_ID": slurm_id,
    }.items() <= env.items()
    if runtime is CHARLIECLOUD:  # ch-image writes the image's own variables there
        assert ("hello $HOME", "/bin") == (env["IMAGE_SAYS"], env["PATH"])
    assert {"CUDA_VISIBLE_DEVICES", "BENCHD_HOST", "BENCHD_BIND", "BENCHD_RESULT_DIR"} <= set(env)
    ours = ("BENCHD_", "SLURM_", "CH_", "APPTAINER_", "SINGULARITY_", "A_PASSWORD", "MOTTO")
    ours += (
        "QUOTED",
        "BARE",
        "IMAGE_SAYS",
        "PROMPT_COMMAND",
        "PS1",
        "LD_LIBRARY_PATH",
    )
    usual = {"PATH", "PORT", "HOME", "USER", "LOGNAME", "LANG", "PWD", "SHLVL", "OLDPWD", "TERM"}
    left = {name for name in env if not name.startswith(ours)} - usual
    assert {"CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES"} >= left
    assert not Path(env["BENCHD_DATA"]).exists()


@every_runtime
def test_a_service_in_a_container_is_prepared_reached_and_stopped(
    place: Place, image: Path, runtime: RuntimeSettings
) -> None:
    """Its steps run in the image too; found once it is up, it dies with its job."""
    serve = 'exec nc -ll -p "$BENCHD_PORT" -e echo pong'
    what = job(
        *("sh", "-c", f'cat "$BENCHD_DATA/ready" || exit 1; {serve}'),
        runtime=runtime,
        container=Container(image_path=str(image)),
        payload={
            "before": (Step(argv=("sh", "-c", 'cat /etc/image >"$BENCHD_DATA/ready"')),),
            "once_up": (
                Step(
                    argv=("sh", "-c", 'nc "$BENCHD_HOST_IP" "$BENCHD_PORT" >"$BENCHD_DATA/said"'),
                ),
            ),
        },
        ports=("auto",),
    )
    slurm_id = place.submit(what)
    assert until((place.job / "endpoint.json").exists, DEADLINE), place.told(slurm_id)
    assert "pong\n" == (place.job / "data" / "said").read_text()
    place.slurm.run("scancel", slurm_id)
    place.sees(slurm_id, Trigger.SEEN_CANCELLED)
    assert until((place.job / "exit.json").exists, DEADLINE)
    assert 143 == place.json("exit.json")["status"]


@pytest.mark.real("slurm", "charliecloud")
def test_an_image_that_is_not_there_is_named(place: Place, tmp_path: Path) -> None:
    """Nothing is run, and the message has the path."""
    what = case(
        "true", runtime=CHARLIECLOUD, container=Container(image_path=str(tmp_path / "absent"))
    )
    slurm_id = place.submit(what)
    assert 1 == place.sees(slurm_id, Trigger.SEEN_FAILED).exit_code
    assert f"{tmp_path}/absent" in place.told(slurm_id)
