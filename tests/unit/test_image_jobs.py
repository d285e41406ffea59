"""Which images a recipe needs, where they are, who waits for whom, and what a look means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from benchd.config import RuntimeSettings
from benchd.core.effects import Cancel, ClusterView, Finish, Look, Retry, Submit, World
from benchd.core.image_looks import Busy, Found, Missing, There, Wrong, judged, last_lines
from benchd.core.images import arrange, canonical, check, commands_hash, complaints, file_name
from benchd.core.model import CancelWhy, Job, JobState, Run, RunOutcome
from benchd.core.plan import decide
from benchd.core.spec import Container, JobSpec, Role, Service
from benchd.core.waiting import waiting_for
from benchd.errors import UserError
from benchd.fields import Resources
from support.builders import CREATED_AT as T0
from support.builders import INSTANCE, RUN_ID, client, job, run, service

NOW = T0 + 100.0
APPTAINER = RuntimeSettings(name="apptainer", cache="$HOME/images")
PATH = "$HOME/images/redis_7.sif"
BOX = Container(docker_source="docker://redis:7", image_path=PATH, build="job")
LATER = ClusterView(name="alpha", last_poll_at=NOW, next_poll_at=NOW + 60)


def spec(name: str = "a", **box: Any) -> JobSpec:
    """Return the spec of a service in this container."""
    asked = Resources(account="p1", partition="gpu", gres="gpu:1", mem="4G")
    return JobSpec(
        role=Role.SERVICE, name=name, kind="redis", container=Container(**box), resources=asked
    )


def image(**over: Any) -> Job:
    """Return the row that makes the image of the other rows here."""
    facts = {"role": Role.IMAGE, "name": "redis-7", "kind": "image", "container": BOX, **over}
    return job(**facts)


def user(**over: Any) -> Job:
    """Return a service that needs the image."""
    return service(**{"container": BOX, "images": ("redis-7",), **over})


def sent(row: Job, state: JobState = JobState.RUNNING, **over: Any) -> Job:
    """Return a row that Slurm has, or had."""
    facts = {"state": state, "slurm_id": "7", "tries": 1, "attempted_at": T0, "submitted_at": T0}
    return replace(row, **{**facts, **over})


def done(row: Job) -> Job:
    """Return an image row that ended at a look."""
    asked = {"cancel_why": CancelWhy.DONE, "cancel_requested_at": T0}
    return replace(row, state=JobState.CANCELLED, **asked)


def decided(*rows: Job, runs: tuple[Run, ...] | None = None) -> list[object]:
    """Return what is wanted in a world of these rows."""
    return list(decide(world(*rows, runs=runs), NOW))


def world(*rows: Job, runs: tuple[Run, ...] | None = None) -> World:
    """Return a world of these rows."""
    runs = (run(),) if runs is None else runs
    return World(runs=runs, jobs=rows, valid={}, clusters={"alpha": LATER})


# --- what a recipe says ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ({"docker_source": "redis:7"}, "$HOME/images/redis_7.sif"),
        ({"docker_source": "docker://redis:7"}, "$HOME/images/redis_7.sif"),
        ({"image_path": "mine.sif"}, "$HOME/images/mine.sif"),
        ({"image_path": "/shared/x.sif", "docker_source": "redis:7"}, "/shared/x.sif"),
        ({"image_path": "~/x.sif"}, "~/x.sif"),
        ({}, None),
    ],
)
def test_an_image_is_a_file_somewhere(said: dict[str, Any], path: str | None) -> None:
    """What is not said to be elsewhere is in the cache, named after what it is made from."""
    _, (changed,) = arrange([spec(**said)], APPTAINER, "$HOME/benchd")
    assert changed.container is not None
    assert path == changed.container.image_path


def test_different_images_have_different_names() -> None:
    """Neither a slash nor a list of commands nor a scheme is lost in the name of the file."""
    sources = ("a/b:1", "a_b:1", "a:1", "oras://a:1", "x" * 200, "x" * 201)
    boxes = [Container(docker_source=source) for source in sources]
    boxes += [Container(docker_source="a:1", build_commands=(c,)) for c in ("true", "false")]
    assert len(boxes) == len({file_name(box, ".sif") for box in boxes})


def test_one_job_makes_what_several_need() -> None:
    """Each image file has one job in a run, without GPUs, on the account of who needs it."""
    specs = [spec("a", docker_source="redis:7"), spec("b", docker_source="docker://redis:7")]
    specs += [spec("c", docker_source="x/redis:8"), spec("d", image_path="/mine.sif")]
    specs += [spec("e", docker_source="redis:9", build="inside")]
    made, changed = arrange(specs, APPTAINER, "$HOME/benchd")
    assert ["redis-7", made[1].name] == [each.name for each in made]
    needed = [each.images for each in changed]
    assert [("redis-7",), ("redis-7",), (made[1].name,), (), ()] == needed
    asked = made[0].resources.model_dump(exclude_none=True)
    usual = {"account": "p1", "partition": "gpu", "nodes": 1, "ntasks": 1, "time": "01:00:00"}
    assert usual == asked


def test_what_image_jobs_ask_for_can_be_said() -> None:
    """runtime.build_resources win over what an image job would ask for."""
    over = Resources(partition="cpu", mem="8G")
    runtime = APPTAINER.model_copy(update={"build_resources": over})
    (made,), _ = arrange([spec(docker_source="redis:7")], runtime, "$HOME/benchd")
    assert ("cpu", "8G", "p1") == (
        made.resources.partition,
        made.resources.mem,
        made.resources.account,
    )


def test_without_a_runtime_there_are_no_images() -> None:
    """Containers are ignored on a cluster whose programs run on the host."""
    wanted = [spec(docker_source="redis:7")]
    assert ([], wanted) == arrange(wanted, RuntimeSettings(), "$HOME/benchd")


@pytest.mark.parametrize(
    ("boxes", "what"),
    [
        (
            ({"docker_source": "a:1", "image_path": "/x.sif"},) * 1
            + ({"docker_source": "a:2", "image_path": "/x/../x.sif"},),
            "b and a have one image_path",
        ),
        (
            ({"docker_source": "oras://a:1", "build_commands": ("true",)},),
            "build_commands start from docker://",
        ),
    ],
)
def test_images_that_cannot_be_made_are_refused(
    boxes: tuple[dict[str, Any], ...], what: str
) -> None:
    """The parts of the recipe are named before anything is recorded."""
    parts = [
        Service(name=name, container=Container(**box))
        for name, box in zip("ab", boxes, strict=False)
    ]
    with pytest.raises(UserError, match=what):
        check(parts, APPTAINER, "$HOME/benchd")


def test_a_runtime_that_builds_nothing_says_so() -> None:
    """build_commands with a runtime that has no builder are refused with its name."""
    box = Container(docker_source="a:1", build_commands=("true",))
    runtime = RuntimeSettings(name="enroot")
    with pytest.raises(UserError, match="enroot cannot run build_commands"):
        check([Service(name="a", container=box)], runtime, "$HOME/benchd")


@pytest.mark.parametrize(
    ("box", "key"),
    [
        ({"docker_source": ""}, "docker_source"),
        ({"docker_source": "docker://"}, "docker_source"),
        ({"docker_source": "docker://--tls-no-verify"}, "docker_source"),
        ({"force_rebuild": True}, "force_rebuild"),
        ({"image_path": "/x.sif", "build": "login"}, "build"),
        ({"image_path": "/x.sif", "build_commands": ("true",)}, "build_commands"),
        ({"docker_source": "a", "build": "inside", "force_rebuild": True}, "force_rebuild"),
        ({"docker_source": "a", "build_commands": ("%files",)}, "build_commands"),
    ],
)
def test_what_says_nothing_is_refused(box: dict[str, Any], key: str) -> None:
    """Keys about making an image need something to make it from, and must not contradict."""
    found = list(complaints(Service(name="a", container=Container(**box))))
    assert [key] == [place[1] for place, _ in found]


@pytest.mark.parametrize("text", ["~/a.sif", "${HOME}/a.sif", "$HOME//x/../a.sif", "$HOME/./a.sif"])
def test_paths_that_mean_one_file_are_one(text: str) -> None:
    """The home directory is known by each of its names, and steps in between do not count."""
    assert canonical("$HOME/a.sif") == canonical(text)


# --- who waits for whom ---------------------------------------------------------------------------


def test_an_image_is_looked_for_before_what_needs_it() -> None:
    """Nothing that needs the image is sent before its row ended well; then everything is."""
    assert [Look(image().token)] == decided(image(), user(), client())
    assert [Submit(user().token)] == decided(done(image()), user(), client())
    completed = sent(image(), JobState.COMPLETED)
    assert [Submit(user().token)] == decided(completed, user(), client())


def test_one_of_those_that_make_a_file_begins() -> None:
    """Across runs the first row looks; the other waits until it is over, and says for whom."""
    other = run(id="m2otherrun", recipe_path="b.yaml")
    second = image(
        run_id=other.id, container=BOX.model_copy(update={"image_path": "~/images/redis_7.sif"})
    )
    both = (run(), other)
    rows = (image(), user(), second, user(run_id=other.id))
    assert [Look(image().token)] == decided(*rows, runs=both)
    busy = (sent(image()), *rows[1:])
    assert [] == decided(*busy, runs=both)
    said = waiting_for(second, world(*busy, runs=both), NOW)
    assert f"{image().token} makes the same image; then it is looked for again" == said


def test_an_image_is_not_made_anew_under_its_users() -> None:
    """force_rebuild waits for the jobs that use the file, whatever their run, and names them."""
    other = run(id="m2otherrun", recipe_path="b.yaml")
    using = sent(user(run_id=other.id, concurrent=True), missing_since=None)
    anew = image(container=BOX.model_copy(update={"force_rebuild": True}))
    rows, both = (using, anew, user()), (run(), other)
    assert [] == [e for e in decided(*rows, runs=both) if isinstance(e, Look)]
    said = waiting_for(anew, world(*rows, runs=both), NOW)
    assert f"force_rebuild waits until nobody uses {PATH}: {using.token}" == said
    assert Look(anew.token) in decided(replace(using, state=JobState.FAILED), anew, user())


def test_nobody_begins_to_use_an_image_that_is_made_anew() -> None:
    """A job of another run whose own look is over waits as well: there may be no file just now."""
    other = run(id="m2otherrun", recipe_path="b.yaml")
    looked = {"state": JobState.CANCELLED, "cancel_why": CancelWhy.DONE, "ended_at": NOW}
    later = (image(run_id=other.id, **looked), user(run_id=other.id))
    anew = sent(image(container=BOX.model_copy(update={"force_rebuild": True})))
    both = (run(), other)
    assert [] == [e for e in decided(anew, user(), *later, runs=both) if isinstance(e, Submit)]
    said = waiting_for(later[1], world(anew, user(), *later, runs=both), NOW)
    assert f"{anew.token} makes {PATH} anew" == said
    done = replace(anew, state=JobState.COMPLETED, ended_at=NOW)
    begun = [e.token for e in decided(done, user(), *later, runs=both) if isinstance(e, Submit)]
    assert [user().token, later[1].token] == begun


def test_what_needs_an_image_that_cannot_be_had_ends_unsent() -> None:
    """The run fails with the sentence about the image; nothing is tried again."""
    bad = image(state=JobState.FAILED, why="REFUSED", detail="no such image", ended_at=NOW)
    ends = [e for e in decided(bad, user(), client()) if isinstance(e, Cancel)]
    assert [(user().token, CancelWhy.SIBLING)] == [(e.token, e.why) for e in ends][:1]
    fallen = {"state": JobState.CANCELLED, "cancel_why": CancelWhy.SIBLING, "ended_at": NOW}
    rows = (bad, user(**fallen), client(**fallen))
    said = "image redis-7 FAILED REFUSED: no such image"
    assert [Finish(RUN_ID, RunOutcome.FAILED, said)] == decided(*rows)


def test_an_image_job_is_tried_again_on_another_node() -> None:
    """After a node failure there is a second attempt, and its users wait for it."""
    lost = arrange([spec(docker_source="redis:7")], APPTAINER, "$HOME/benchd")[0][0]
    row = sent(job(role=Role.IMAGE, spec=lost, name="redis-7", kind="image"), JobState.FAILED)
    row = replace(row, why="NODE_FAIL", nodes="n1", ended_at=NOW)
    assert [Retry(row.token)] == decided(row, user(), client())


def test_an_image_that_nobody_waits_for_is_not_made() -> None:
    """When what needed it is over, its job is ended as done."""
    ended = user(state=JobState.CANCELLED, cancel_why=CancelWhy.ASKED)
    assert Cancel(image().token, CancelWhy.DONE) in decided(sent(image()), ended)


# --- what a look says -----------------------------------------------------------------------------


NOTE: Mapping[str, object] = {"source": "docker://redis:7", "commands": "", "by": "other-run-i-x"}
OWN = f"{INSTANCE}-{RUN_ID}-i-redis-7-p0r0-0-a1"


@pytest.mark.parametrize(
    ("found", "box", "answer"),
    [
        (Found(), {}, Missing),
        (Found(is_there=True, origin=NOTE), {}, There),
        (Found(is_there=True), {}, There),
        (Found(is_there=True, origin={"source": "", "by": OWN}), {}, There),
        (Found(is_there=True, origin=NOTE, is_locked=True), {}, There),
        (Found(is_locked=True, owner="n1 7 0 tok"), {}, Busy),
        (Found(is_there=True, origin={**NOTE, "source": "docker://redis:6"}), {}, Wrong),
        (Found(is_there=True, origin=NOTE), {"build_commands": ("true",)}, Wrong),
        (Found(is_there=True, origin=NOTE), {"force_rebuild": True}, Missing),
        (
            Found(is_there=True, origin={"source": "", "by": OWN}),
            {"force_rebuild": True},
            Missing,
        ),
        (Found(is_there=True, origin={**NOTE, "by": OWN}), {"force_rebuild": True}, There),
        (Found(is_there=True, is_locked=True), {"force_rebuild": True}, Busy),
    ],
)
def test_what_a_look_means(found: Found, box: dict[str, Any], answer: type) -> None:
    """An image is used when it is what the recipe says; anew is once for a run."""
    row = image(container=BOX.model_copy(update=box))
    assert answer is type(judged(row, found))


def test_commands_are_part_of_what_an_image_is() -> None:
    """Two lists of commands, and none, are told apart."""
    lists = ((), ("a", "b"), ("ab",), ("b", "a"))
    assert len(lists) == len({commands_hash(Container(build_commands=each)) for each in lists})


def test_the_last_words_of_a_runtime_are_one_printable_line() -> None:
    """The last few lines are joined, and control characters left out."""
    output = "first\n\nINFO: \x1b[31mone\nWARN: two\n  three  \nFATAL: four\n"
    assert "INFO: [31mone | WARN: two | three | FATAL: four" == last_lines(output)
