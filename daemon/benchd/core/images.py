"""Container images as jobs of their own: which ones a run needs, who makes them, who waits. Pure.

Theory of operation. An image that a recipe names is made before anything that needs it is sent, and
never in a measured job's allocation unless the recipe asks for that. A run has one row for each
image file. Before such a row becomes a Slurm job the daemon looks whether the image is there; if
so, the row ends without one. Of the rows that make the same file only one is at work at a time, and
the others look again afterwards; a lock beside the file does the same between daemons and users.

What lies beside an image, ``<image>.benchd.json``, says what it was made from. An image that was
made from something else than the recipe says is refused rather than silently used.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Literal

from benchd.config import RuntimeSettings
from benchd.core.containers import suffix
from benchd.core.model import Job
from benchd.core.restart import is_retried
from benchd.core.spec import Container, JobSpec, Part, RestartPolicy, Role
from benchd.core.tally import cause
from benchd.core.view import Index, ended_well, is_sent
from benchd.errors import UserError
from benchd.fields import Resources

KIND = "image"
DOCKER = "docker://"
# What an image job may take when runtime.build_resources does not say: the largest images of AI
# services take a quarter of an hour to bring and to pack.
TIME = "01:00:00"
# A node may fail under an image job once; what fails by itself fails again.
ATTEMPTS = 2
# Seconds before the second one: it goes to another node, and everybody waits for it.
BACK_OFF = 1.0
# Characters of the part of a file's name that comes from the reference; a digest alone has 71.
_STEM = 100
# What an image job has in common with the first job that needs the image: where it may run.
_INHERITED = ("account", "partition", "qos", "reservation")
# Jobs that are named where several are in the way.
_NAMED = 3

_SCHEME = re.compile(r"[a-z][a-z-]*://")
_ROOTED = re.compile(r"/|~(?:/|\Z)|\$")
_HOME = re.compile(r"(?:~|\$\{HOME\})(?=/|\Z)")
_BRACED = re.compile(r"\A\$\{(\w+)\}", re.ASCII)

Build = Literal["job", "login", "inside"]
# Where in a part of a recipe something is wrong, and what.
Complaint = tuple[tuple[str | int, ...], str]


# --- what a recipe says ---------------------------------------------------------------------------


def container_of(part: Part) -> Container | None:
    """Return a part's container, its image named by ``container_image`` if by nothing else."""
    box = part.container
    if part.container_image is None or (box is not None and box.image_path is not None):
        return box
    return (box or Container()).model_copy(update={"image_path": part.container_image})


def complaints(part: Part) -> Iterator[Complaint]:
    """Yield what is wrong with what a part says about its image."""
    box = part.container
    if box is None:
        return
    said = {"build": box.build, "build_commands": box.build_commands, "force_rebuild": True}
    if not box.force_rebuild:
        del said["force_rebuild"]
    if box.docker_source is None:
        for key, value in said.items():
            if value:
                what = f"{key} is about making an image; name docker_source to make it from"
                yield ("container", key), what
    elif (name := _SCHEME.sub("", box.docker_source)) == "" or name.startswith("-"):
        what = f"{box.docker_source!r} names no image; write for example docker://redis:7-alpine"
        yield ("container", "docker_source"), what
    if box.force_rebuild and box.build == "inside":
        what = "with build: inside the image would be made anew in every job; leave one of them out"
        yield ("container", "force_rebuild"), what
    for number, command in enumerate(box.build_commands):
        if not command.strip():
            yield ("container", "build_commands", number), "is empty"
        elif command.lstrip().startswith("%"):
            what = "a line that begins with % is no command in the file an image is made from"
            yield ("container", "build_commands", number), what


def source_of(box: Container) -> str:
    """Return what an image is made from, with its scheme."""
    source = box.docker_source or ""
    return source if not source or _SCHEME.match(source) else f"docker://{source}"


def refusal(runtime: str, box: Container) -> str | None:
    """Return why a runtime cannot make this image; None when it can."""
    if not box.build_commands or runtime == "none":
        return None
    if runtime in ("enroot", "pyxis"):
        return (
            f"{runtime} cannot run build_commands: make the image elsewhere, name it in image_path"
        )
    if not source_of(box).startswith(DOCKER):
        return f"build_commands start from docker://..., not from {source_of(box)}"
    return None


def commands_hash(box: Container) -> str:
    """Return what tells two lists of commands apart; empty without any."""
    if not box.build_commands:
        return ""
    return hashlib.sha256("\n".join(box.build_commands).encode()).hexdigest()


def origin_text(box: Container, runtime: str) -> str:
    """Return the beginning of the JSON that lies beside an image: what it is made from."""
    said = {
        "schema": "benchd.image/1",
        "source": source_of(box),
        "commands": commands_hash(box),
        "runtime": runtime,
    }
    return json.dumps(said)[:-1] + ", "


def folder(runtime: RuntimeSettings, workdir: str) -> str:
    """Return the directory for images that are not said to be elsewhere."""
    return runtime.cache or f"{workdir.rstrip('/')}/images"


def file_name(box: Container, ending: str) -> str:
    """Return a name for the image of a reference, another one for each list of commands."""
    source = source_of(box)
    plain = _SCHEME.sub("", source)
    stem = re.sub(r"[^A-Za-z0-9.-]+", "_", plain).strip("._-")
    if stem[:_STEM] != plain.replace(":", "_") or not source.startswith(DOCKER):
        stem = f"{stem[:_STEM] or KIND}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    commands = commands_hash(box)
    return f"{stem}-{commands[:8]}{ending}" if commands else f"{stem}{ending}"


def resolved(box: Container, runtime: RuntimeSettings, directory: str) -> Container:
    """Return a container whose image is a file somewhere, and which says where that is made."""
    path = box.image_path
    if path is None and box.docker_source is not None:
        path = file_name(box, suffix(runtime))
    if path is not None and _ROOTED.match(path) is None:
        path = f"{directory}/{path}"
    usual: Build = "job" if box.force_rebuild and runtime.build == "inside" else runtime.build
    build = box.build or usual  # made anew once for a run, and not for each job
    return box.model_copy(update={"image_path": path, "build": build})


@lru_cache(maxsize=1024)
def canonical(path: str) -> str:
    """Return a path for comparing: two texts that surely mean one file are the same."""
    path = _BRACED.sub(r"$\1", _HOME.sub("$HOME", path))
    return posixpath.normpath(path)


# --- the jobs of a run ----------------------------------------------------------------------------


def arrange(
    specs: Sequence[JobSpec], runtime: RuntimeSettings, workdir: str
) -> tuple[list[JobSpec], list[JobSpec]]:
    """Return the image jobs that these jobs need, and the jobs, which name them now."""
    if runtime.name == "none":
        return [], list(specs)
    directory, made, changed = folder(runtime, workdir), _Made(runtime), []
    for spec in specs:
        if spec.container is None:
            changed.append(spec)
            continue
        box = resolved(spec.container, runtime, directory)
        if (why := refusal(runtime.name, box)) is not None:
            raise UserError(f"{spec.name}: {why}")
        apart = box.docker_source is not None and box.build != "inside"
        names = (made.name_of(box, spec),) if apart else ()
        changed.append(spec.model_copy(update={"container": box, "images": names}))
    return list(made.specs.values()), changed


def check(parts: Iterable[Part], runtime: RuntimeSettings, workdir: str) -> None:
    """Raise ``UserError`` when the images of these parts cannot be made on a cluster."""
    specs = [
        JobSpec(role=Role.SERVICE, name=part.name, kind=KIND, container=container_of(part))
        for part in parts
    ]
    arrange(specs, runtime, workdir)


class _Made:
    """The image jobs of one run, by the file they make."""

    def __init__(self, runtime: RuntimeSettings) -> None:
        self.runtime = runtime
        self.specs: dict[str, JobSpec] = {}
        self.users: dict[str, str] = {}  # file -> the part that was first to want it

    def name_of(self, box: Container, user: JobSpec) -> str:
        """Return the name of the job that makes this image, a new one if need be."""
        key = canonical(box.image_path or "")
        known = self.specs.get(key)
        if known is None:
            self.users[key] = user.name
            self.specs[key] = known = self._spec(box, user)
        elif known.container is not None:
            other = known.container
            if (source_of(other), other.build_commands) != (source_of(box), box.build_commands):
                raise UserError(
                    f"{user.name} and {self.users[key]} have one image_path, {box.image_path}, and "
                    "make it from different docker_source or build_commands: give each its own"
                )
            if box.force_rebuild and not other.force_rebuild:
                anew = other.model_copy(update={"force_rebuild": True})
                self.specs[key] = known.model_copy(update={"container": anew})
        if known.companion and not user.companion:
            self.specs[key] = self.specs[key].model_copy(update={"companion": False})
        return known.name

    def _spec(self, box: Container, user: JobSpec) -> JobSpec:
        asked = {key: getattr(user.resources, key) for key in _INHERITED}
        asked |= {"nodes": 1, "ntasks": 1, "time": TIME}
        asked |= self.runtime.build_resources.model_dump(exclude_unset=True)
        return JobSpec(
            role=Role.IMAGE,
            name=self._new_name(box.image_path or ""),
            kind=KIND,
            container=box.model_copy(update={"bind_mounts": ()}),
            resources=Resources(**asked),
            restart=RestartPolicy(
                max_attempts=ATTEMPTS, on=("node", "preempted"), back_off=BACK_OFF
            ),
            companion=user.companion,  # an image that only a companion wants fails as it does
        )

    def _new_name(self, path: str) -> str:
        stem = posixpath.splitext(posixpath.basename(path))[0].lower()
        plain = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:28].strip("-") or KIND
        taken = {spec.name for spec in self.specs.values()}
        numbered = (plain if n == 1 else f"{plain}-{n}" for n in range(1, len(taken) + 2))
        return next(name for name in numbered if name not in taken)


# --- who waits for what ---------------------------------------------------------------------------

# One image file: the cluster, and the path for comparing.
Place = tuple[str, str]


def place_of(job: Job) -> Place:
    """Return which file an image job makes, or any job uses."""
    box = job.spec.container
    path = box.image_path if box is not None else None
    return job.cluster, canonical(path) if path else ""


def path_of(job: Job) -> str:
    """Return the image of a job, as the recipe writes it."""
    return (job.spec.container.image_path if job.spec.container else None) or "the image"


def being_made(index: Index) -> dict[Place, Job]:
    """Return the files that a Slurm job of ours makes, or may make."""
    makers = (j for j in index.world.jobs if j.role is Role.IMAGE and is_sent(j))
    return {place_of(job): job for job in makers}


def users_of(job: Job, index: Index) -> list[Job]:
    """Return the jobs in Slurm that use the file which an image job makes anew."""
    box, place = job.spec.container, place_of(job)
    if box is None or not box.force_rebuild:
        return []
    return [
        other
        for other in index.world.jobs
        if other.role is not Role.IMAGE and is_sent(other) and place_of(other) == place
    ]


def in_the_way(job: Job, index: Index, making: Mapping[Place, Job]) -> str:
    """Return why a job may not begin yet, because of who makes or uses its image; empty if it may.

    Only an image that is made anew is there already, and keeps those waiting who would use it.
    """
    maker = making.get(place_of(job))
    if job.role is not Role.IMAGE:
        box = maker.spec.container if maker is not None else None
        is_anew = box is not None and box.force_rebuild
        return f"{maker.token} makes {path_of(job)} anew" if maker and is_anew else ""
    if maker is not None and maker.token != job.token:
        return f"{maker.token} makes the same image; then it is looked for again"
    users = users_of(job, index)
    if not users:
        return ""
    more = f" and {len(users) - _NAMED} more" if len(users) > _NAMED else ""
    named = ", ".join(user.token for user in users[:_NAMED])
    return f"force_rebuild waits until nobody uses {path_of(job)}: {named}{more}"


def awaited(job: Job, index: Index) -> Job | None:
    """Return an image job that has to end well before this job is sent."""
    for name in job.spec.images:
        image = index.images.get((job.run_id, name))
        if image is not None and not ended_well(image):
            return image
    return None


def lost(job: Job, index: Index) -> Job | None:
    """Return the image job that ended badly, for good, so that this job can never be sent."""
    image = awaited(job, index) if job.spec.images else None
    if image is None or is_sent(job) or not image.is_terminal or is_retried(image):
        return None
    return image


def loss(image: Job) -> str:
    """Return the sentence about a job whose image cannot be had."""
    return f"its image {path_of(image)} is not made: {cause(image)}"


def spare(index: Index, still_wanted: Mapping[str, set[str]]) -> Iterator[Job]:
    """Yield the image jobs that no job of their run waits for any more.

    ``still_wanted``: run -> names of the images that jobs need which are not over.
    """
    for (run_id, name), image in index.images.items():
        over = image.is_terminal or image.cancel_why is not None
        if not over and run_id in still_wanted and name not in still_wanted[run_id]:
            yield image
