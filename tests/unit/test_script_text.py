"""The text of the batch script: kept copies, what may reach it, and what may not."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from benchd.config import RuntimeSettings
from benchd.core.containers import shell_path
from benchd.core.payload import Payload, Sh
from benchd.core.script import render, sbatch_lines
from benchd.core.script_body import wants_gpu
from benchd.core.spec import Container, JobSpec, RestartPolicy, Role, Service
from benchd.fields import Resources
from support.script_cases import APPTAINER, GOLDEN, NASTY, SHIP, TOKEN, case

FOLDER = Path(__file__).parents[1] / "golden"
# What a recipe's Line admits: any printable text without control characters.
LINES = st.text(
    st.characters(exclude_categories=("Cs", "Cc")), max_size=40
)  # length: hypothesis explores short texts best, and nothing depends on it
WORDS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.,:+@&|*()\[\]=/-]{0,20}", fullmatch=True)


def bash_accepts(text: str) -> bool:
    """Ask bash itself whether a script parses."""
    done = subprocess.run(["bash", "-n"], input=text.encode(), capture_output=True, check=False)
    return (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_the_script_is_the_kept_copy(name: str) -> None:
    """A script changes only together with its kept copy (BENCHD_WRITE_GOLDEN=1 writes it)."""
    path = FOLDER / f"{name}.sh"
    if os.environ.get("BENCHD_WRITE_GOLDEN"):
        path.write_text(GOLDEN[name].render())
    assert path.read_text() == GOLDEN[name].render()


def test_every_kept_copy_has_its_job() -> None:
    """No file in tests/golden is left over from a job that is gone."""
    assert sorted(GOLDEN) == sorted(path.stem for path in FOLDER.glob("*.sh"))


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_bash_parses_the_script(name: str) -> None:
    """``bash -n`` has nothing to say about any script."""
    assert bash_accepts(GOLDEN[name].render())


@pytest.mark.real("shellcheck")
@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_shellcheck_has_nothing_to_say(name: str) -> None:
    """Shellcheck finds nothing, down to its lowest severity."""
    done = subprocess.run(
        ["shellcheck", "--norc", "-"],
        input=GOLDEN[name].render().encode(),
        capture_output=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stdout.decode())


ALL_RESOURCES = Resources(
    nodes=2,
    ntasks=4,
    ntasks_per_node=2,
    cpus_per_task=8,
    mem="4G",
    mem_per_cpu="512M",
    time="1-02:03:04",
    partition="gpu",
    qos="default",
    account="p200981",
    gres="gpu:a100:4",
    gpus="4",
    gpus_per_node="2",
    gpus_per_task="1",
    constraint="a&(b|c)",
    exclusive=True,
    reservation="maint",
    nodelist="n[1-4]",
    exclude="n7",
    signal="B:TERM@60",
    licenses="matlab:1",
    hint="nomultithread",
    threads_per_core=1,
)


def test_every_resource_is_the_sbatch_option_of_its_name() -> None:
    """Each resource key becomes the one option it is named after, and the requeue switch leads."""
    assert sbatch_lines(ALL_RESOURCES, requeue=False) == [
        "#SBATCH --no-requeue",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks=4",
        "#SBATCH --ntasks-per-node=2",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --mem=4G",
        "#SBATCH --mem-per-cpu=512M",
        "#SBATCH --time=1-02:03:04",
        "#SBATCH --partition=gpu",
        "#SBATCH --qos=default",
        "#SBATCH --account=p200981",
        "#SBATCH --gres=gpu:a100:4",
        "#SBATCH --gpus=4",
        "#SBATCH --gpus-per-node=2",
        "#SBATCH --gpus-per-task=1",
        "#SBATCH --constraint=a&(b|c)",
        "#SBATCH --exclusive",
        "#SBATCH --reservation=maint",
        "#SBATCH --nodelist=n[1-4]",
        "#SBATCH --exclude=n7",
        "#SBATCH --signal=B:TERM@60",
        "#SBATCH --licenses=matlab:1",
        "#SBATCH --hint=nomultithread",
        "#SBATCH --threads-per-core=1",
    ]
    assert set(Resources.model_fields) == ALL_RESOURCES.model_fields_set


def test_no_resources_leave_one_line() -> None:
    """A job that asks for nothing says only that Slurm must not requeue it."""
    expected = ["#SBATCH --no-requeue"]
    assert expected == sbatch_lines(Resources(exclusive=False), requeue=False)
    assert ["#SBATCH --requeue"] == sbatch_lines(Resources(), requeue=True)


@st.composite
def _specs(draw: st.DrawFn) -> JobSpec:
    box = Container(
        docker_source=draw(st.none() | LINES),
        image_path=draw(st.none() | LINES.map(lambda text: "$HOME/" + text) | LINES),
        bind_mounts=tuple(draw(st.lists(LINES, max_size=2))),
    )
    names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True)
    return JobSpec(
        role=draw(st.sampled_from(Role)),
        name="x",
        kind="generic",
        container=draw(st.none() | st.just(box)),
        command=draw(LINES),
        args=tuple(draw(st.lists(LINES, max_size=3))),
        environment=draw(st.dictionaries(names, LINES, max_size=3)),
        resources=Resources(
            partition=draw(st.none() | WORDS),
            constraint=draw(st.none() | WORDS),
            gres=draw(st.none() | WORDS),
        ),
        ports=tuple(draw(st.lists(st.integers(1, 65535) | st.just("auto"), max_size=3))),
        restart=RestartPolicy(requeue=draw(st.booleans())),
    )


@settings(max_examples=60, deadline=None)  # bash starts once per example, 3 ms of a busy machine
@given(spec=_specs(), runtime=st.sampled_from([RuntimeSettings(), APPTAINER]))
def test_no_text_of_the_users_becomes_shell(spec: JobSpec, runtime: RuntimeSettings) -> None:
    """Whatever a recipe says, sbatch reads the expected lines and bash reads the same words."""
    payload = Payload(argv=(spec.command or "", *spec.args))
    text = render(spec, TOKEN, payload, runtime, SHIP)
    found = [line for line in text.split("\n") if line.startswith("#SBATCH")]
    assert sbatch_lines(spec.resources, requeue=spec.restart.requeue) == found
    assert bash_accepts(text)
    last = text.split("benchd_payload() {\n")[1].split("\n}\n")[0].split("\n")[-1]
    words = shlex.split(last)
    place = len(words) - 1 - len(spec.args)
    assert [spec.command or "", *spec.args] == words[place:]
    prefix = "APPTAINERENV_" if "--cleanenv" in words[:place] else ""
    for name, value in spec.environment.items():
        assert f"{prefix}{name}={value}" in words


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b", "a\x1b[2Jb", "a\x7f"])
@pytest.mark.parametrize("key", ["command", "args", "environment"])
def test_control_characters_do_not_pass_the_models(key: str, bad: str) -> None:
    """A line break or any other control character is refused before a script is thought of."""
    value = {"command": bad, "args": (bad,), "environment": {"A": bad}}[key]
    with pytest.raises(ValidationError):
        Service.model_validate({"name": "x", key: value})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/scratch/a.sif", "/scratch/a.sif"),
        ("/a b/$HOME", "'/a b/$HOME'"),
        ("$HOME/a.sif", '"${HOME:?is not set on this node}"/a.sif'),
        ("${SCRATCH}/a b", "\"${SCRATCH:?is not set on this node}\"'/a b'"),
        ("~/a.sif", '"${HOME:?is not set on this node}"/a.sif'),
        ("~", '"${HOME:?is not set on this node}"'),
        ("$WORK:/data", '"${WORK:?is not set on this node}":/data'),
        ("$HOME/$(id)", "\"${HOME:?is not set on this node}\"'/$(id)'"),
        ("$HOME$(id)", "'$HOME$(id)'"),
        ("$(id)/x", "'$(id)/x'"),
        ("${HOME:-$(id)}/x", "'${HOME:-$(id)}/x'"),
        ("~root/x", "'~root/x'"),
        ("$HÖME/x", "'$HÖME/x'"),
    ],
)
def test_only_a_leading_variable_of_a_path_is_expanded(path: str, expected: str) -> None:
    """``~``, ``$NAME`` and ``${NAME}`` at the start are the node's; all else is literal."""
    assert expected == shell_path(path)


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (Resources(), False),
        (Resources(gres="gpu"), True),
        (Resources(gres="gpu:2"), True),
        (Resources(gres="gres/gpu:a100:2"), True),
        (Resources(gres="lustre,gpu:1"), True),
        (Resources(gres="gpumem:4"), False),
        (Resources(gpus="1"), True),
        (Resources(gpus_per_node="a100:1"), True),
        (Resources(gpus_per_task="1"), True),
    ],
)
def test_a_gpu_is_seen_in_every_option_that_asks_for_one(
    resources: Resources, *, expected: bool
) -> None:
    """The container gets the GPU driver exactly when Slurm is asked for a GPU."""
    assert expected is wants_gpu(resources)
    box = Container(image_path="/i.sif")
    text = case("true", runtime=APPTAINER, container=box, resources=resources).render()
    assert expected is (" --nv " in text)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("docker://redis:7", "docker://redis:7"),
        ("redis:7", "docker://redis:7"),
        ("oras://docker.example/x/y:1", "oras://docker.example/x/y:1"),
        (NASTY, shlex.quote("docker://" + NASTY)),
    ],
)
def test_an_image_reference_without_a_scheme_is_dockers(source: str, expected: str) -> None:
    """``redis:7`` means Docker's registry, and a reference is one word whatever it says."""
    box = Container(docker_source=source)
    text = case("true", runtime=APPTAINER, container=box).render()
    assert f'    apptainer pull "$benchd_part" {expected}' in text.split("\n")


def test_a_cluster_without_a_container_runtime_runs_on_the_host() -> None:
    """With runtime ``none`` the container part of a job is not used."""
    box = Container(docker_source="redis:7")
    assert case("true").render() == case("true", container=box).render()


@pytest.mark.parametrize(
    "payload",
    [
        Payload(argv=()),
        Payload(argv=("a\0b",)),
        Payload(argv=("true",), files={"../claim": ""}),
        Payload(argv=("true",), files={"claim": ""}),
        Payload(argv=("true",), files={"exit.json": ""}),
        Payload(argv=("true",), files={"/etc/passwd": ""}),
        Payload(argv=("true",), files={"a b": ""}),
        Payload(argv=("true",), ship=("evil",)),
    ],
)
def test_a_kind_that_breaks_the_rules_is_found_when_it_renders(payload: Payload) -> None:
    """No program, a NUL byte, or a file that could touch the protocol: an error, not a script."""
    spec = case("true").spec
    with pytest.raises(ValueError, match=r"argv|NUL|file"):
        render(spec, TOKEN, payload, RuntimeSettings(), {"evil": "../x; id"})


def test_a_token_must_be_one_plain_word() -> None:
    """A token with shell in it never gets into a script."""
    with pytest.raises(ValueError, match="cannot be a token"):
        case("true").render(token="a;id")


def test_shell_of_the_catalogue_is_put_in_as_it_is() -> None:
    """``Sh`` is the one way to let the node expand something."""
    text = case("echo", Sh('"$BENCHD_PORT"'), "$BENCHD_PORT").render()
    assert re.search(r"""^    exec -- echo "\$BENCHD_PORT" '\$BENCHD_PORT'$""", text, re.MULTILINE)
