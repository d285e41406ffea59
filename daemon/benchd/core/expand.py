"""A recipe -> its jobs: services and clients, every point of the sweep, every repeat, all at once.

Points are numbered in the order of the sweep, the last key varying fastest. A service is shared by
all points that say the same about it; its job carries the first of these points, and the clients'
targets refer to that number. One that is to be ``fresh`` has a job for each point, or for each
point and repeat. Services come first; clients follow repeat by repeat (A B A B rather than A A B
B), so that a drift of the machine spreads over all points alike.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, Protocol, TypeVar

from benchd.config import RuntimeSettings
from benchd.core import fitting, image_builds, images, paths, secrets
from benchd.core.around import dressed
from benchd.core.model import Job
from benchd.core.monitoring import Watching, monitored
from benchd.core.payload import Payload
from benchd.core.restart import next_spec
from benchd.core.script import render
from benchd.core.spec import (
    Client,
    HealthCheck,
    JobSpec,
    Part,
    Recipe,
    Role,
    Scale,
    Service,
    Target,
)
from benchd.core.sweep import Cell, cells, swept_paths
from benchd.errors import UserError
from benchd.fields import Resources, Scalar
from benchd.yamldoc import Path

P = TypeVar("P", bound=Part)
Render = Callable[[JobSpec, str], str]  # spec and token -> text of the batch script

# Both are base32 of random or hashed bytes, lower case: 30 bits tell installations apart that share
# a Slurm account, 50 bits the runs of one installation.
_INSTANCE = re.compile(r"[a-z2-7]{6}")
_RUN = re.compile(r"[a-z2-7]{10}")

# Options that Slurm takes only one of: one of them in the recipe replaces all in the defaults.
_RIVALS = (
    frozenset({"mem", "mem_per_cpu"}),
    frozenset({"gres", "gpus", "gpus_per_node", "gpus_per_task"}),
)


class ServiceInfo(Watching, Protocol):
    """What a kind of service contributes to its jobs."""

    @property
    def payload(self) -> Callable[[JobSpec], Payload]:
        """What to run."""

    @property
    def version(self) -> tuple[str, ...]:
        """What says, on its first line, which version it is."""

    @property
    def storage(self) -> Literal["local", "shared"]:
        """Where its data is, unless a recipe says."""

    def usual_check(self, part: Part, /) -> HealthCheck:
        """Return its usual health check."""


class ClientInfo(fitting.Fitting, Protocol):
    """What a kind of client contributes to its jobs."""

    @property
    def payload(self) -> Callable[[JobSpec], Payload]:
        """What to run."""

    @property
    def version(self) -> tuple[str, ...]:
        """What says, on its first line, which version it is."""


class Kinds(Protocol):
    """The catalogue, as far as jobs need it."""

    def service(self, name: str) -> ServiceInfo | None:
        """Return a kind of service."""

    def client(self, name: str) -> ClientInfo | None:
        """Return a kind of client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One thing the recipe wants, and at which attempt: all that tells a row from its siblings."""

    spec: JobSpec
    point: int = 0
    repeat: int = 0
    replica: int = 0
    attempt: int = 1


def token(instance: str, run_id: str, slot: Slot) -> str:
    """Return the unique name of a job row, which is also its name in Slurm."""
    if not (_INSTANCE.fullmatch(instance) and _RUN.fullmatch(run_id)):
        raise ValueError(f"{instance!r} and {run_id!r} are not an instance and a run id")
    what = f"{slot.spec.role.value[0]}-{slot.spec.name}"
    which = f"p{slot.point}r{slot.repeat}-{slot.replica}-a{slot.attempt}"
    return f"{instance}-{run_id}-{what}-{which}"


def renderer(*, catalog: Kinds, runtime: RuntimeSettings, ship: Mapping[str, str]) -> Render:
    """Return the function that writes the script of any job on one cluster."""

    def write(spec: JobSpec, name: str) -> str:
        if spec.role is Role.IMAGE:
            making = image_builds.payload(spec, name, runtime)
            return render(spec.model_copy(update={"container": None}), name, making, runtime, ship)
        look_up = catalog.service if spec.role is Role.SERVICE else catalog.client
        kind = look_up(spec.kind)
        if kind is None:
            raise UserError(f"there is no kind of {spec.role} called {spec.kind}")
        payload = kind.payload(spec)
        if spec.role is Role.SERVICE and spec.command is None:  # else it is another program's
            payload = replace(payload, version=kind.version)
        return render(spec, name, dressed(payload, spec), runtime, ship)

    return write


def expand(
    recipe: Recipe,
    *,
    run_id: str,
    instance: str,
    cluster: str,
    defaults: Resources,
    runtime: RuntimeSettings,
    catalog: Kinds,
    ship: Mapping[str, str],
    now: float,
    workdir: str = "$HOME/benchd",
) -> tuple[Job, ...]:
    """Return every job of a recipe, in the order in which they should be run."""
    write = renderer(catalog=catalog, runtime=runtime, ship=ship)
    wanted = list(slots(recipe, catalog, defaults, dict[str, str](runtime.exporters.items())))
    made, specs = images.arrange([slot.spec for slot in wanted], runtime, workdir)
    rows = [Slot(spec=spec) for spec in made]
    rows += [replace(slot, spec=spec) for slot, spec in zip(wanted, specs, strict=True)]
    return tuple(
        _row(
            slot,
            token(instance, run_id, slot),
            run_id=run_id,
            cluster=cluster,
            now=now,
            write=write,
        )
        for slot in rows
    )


def next_attempt(job: Job, now: float, render: Render) -> Job:
    """Return the row that follows a failed one: a new token, and of its history what it learned."""
    instance = job.token.partition("-")[0]
    slot = Slot(
        spec=next_spec(job),
        point=job.point,
        repeat=job.repeat,
        replica=job.replica,
        attempt=job.attempt + 1,
    )
    name = token(instance, job.run_id, slot)
    return _row(slot, name, run_id=job.run_id, cluster=job.cluster, now=now, write=render)


def next_replica(job: Job, replica: int, now: float, render: Render) -> Job:
    """Return the row of one more replica of a service, like this one of it."""
    slot = Slot(spec=job.spec, point=job.point, repeat=job.repeat, replica=replica)
    name = token(job.token.partition("-")[0], job.run_id, slot)
    return _row(slot, name, run_id=job.run_id, cluster=job.cluster, now=now, write=render)


def _row(slot: Slot, name: str, *, run_id: str, cluster: str, now: float, write: Render) -> Job:
    return Job(
        token=name,
        run_id=run_id,
        cluster=cluster,
        role=slot.spec.role,
        name=slot.spec.name,
        kind=slot.spec.kind,
        point=slot.point,
        repeat=slot.repeat,
        replica=slot.replica,
        attempt=slot.attempt,
        spec=slot.spec,
        script=write(slot.spec, name),
        created_at=now,
    )


def slots(
    recipe: Recipe, catalog: Kinds, defaults: Resources, exporters: Mapping[str, str]
) -> Iterator[Slot]:
    """Yield everything the recipe wants: services first, then clients repeat by repeat."""
    points = cells(recipe)
    labels = _labels(swept_paths(recipe))
    services, clients = _varied(recipe)
    shared = {service.part.name: _first_points(service, points) for service in services}
    for point, cell in enumerate(points):
        for varied in services:
            if shared[varied.part.name][point] != point:
                continue
            own = {labels[key]: cell[key] for key in varied.keys}
            service = varied.at(cell)
            spec = _service_spec(service, own, catalog, defaults, exporters)
            for repeat in range(recipe.repeat if service.fresh == "measurement" else 1):
                for replica in range(_replicas(service)):
                    yield Slot(spec=spec, point=point, repeat=repeat, replica=replica)
    for repeat, (point, cell) in itertools.product(range(recipe.repeat), enumerate(points)):
        named = {labels[key]: value for key, value in cell.items()}
        measured = {service.part.name: service.at(cell) for service in services}
        served = {
            name: (first[point], repeat if measured[name].fresh == "measurement" else 0)
            for name, first in shared.items()
        }
        for client in clients:
            part = client.at(cell)
            kind = catalog.client(part.kind or part.name)
            if kind is not None:
                part = fitting.fitted(part, kind, measured)
            spec = _client_spec(part, named, served, defaults)
            paced = {"cooldown": recipe.cooldown, "stop_on_failure": recipe.stop_on_failure}
            yield Slot(spec=spec.model_copy(update=paced), point=point, repeat=repeat)


@dataclass(frozen=True, slots=True)
class _Varied(Generic[P]):
    """One service or client, and which swept keys are about it."""

    part: P
    keys: Mapping[str, Path]  # swept path -> path inside the part

    def at(self, cell: Cell) -> P:
        """Return the part as it is at one point."""
        part = self.part
        for key, inner in self.keys.items():
            changed = paths.with_value(part, inner, cell[key])
            if isinstance(changed, str):  # parse() has tried every value
                raise UserError(f"{key}: {changed}")
            part = changed
        return part


def _varied(recipe: Recipe) -> tuple[list[_Varied[Service]], list[_Varied[Client]]]:
    """Return the recipe's parts, each with the swept keys that are about it."""
    keys: dict[int, dict[str, Path]] = defaultdict(dict)
    for key in swept_paths(recipe):
        index, inner = paths.swept(recipe, key)
        keys[index][key] = inner
    services: list[_Varied[Service]] = []
    clients: list[_Varied[Client]] = []
    for index, (_, part) in enumerate(paths.parts(recipe)):
        if isinstance(part, Service):
            services.append(_Varied(part, keys[index]))
        elif isinstance(part, Client):
            clients.append(_Varied(part, keys[index]))
    return services, clients


def _first_points(varied: _Varied[Service], points: tuple[Cell, ...]) -> tuple[int, ...]:
    """Return, for each point, the first one that says the same about this service."""
    if varied.part.fresh is not None:
        return tuple(range(len(points)))
    first: dict[tuple[tuple[type, Scalar], ...], int] = {}
    return tuple(
        # 1, 1.0 and True are equal in Python, and different in a recipe
        first.setdefault(tuple((type(cell[key]), cell[key]) for key in varied.keys), point)
        for point, cell in enumerate(points)
    )


def _labels(keys: Iterable[str]) -> dict[str, str]:
    """Return what swept keys are called in results: their last word where that is enough."""
    keys = list(keys)
    last = Counter(key.rpartition(".")[2] for key in keys)
    return {key: word if last[word := key.rpartition(".")[2]] == 1 else key for key in keys}


def _replicas(service: Service) -> int:
    """Return how many replicas there are from the start."""
    return service.replicas.min if isinstance(service.replicas, Scale) else service.replicas


def _service_spec(
    part: Service, cell: Cell, catalog: Kinds, defaults: Resources, exporters: Mapping[str, str]
) -> JobSpec:
    kind = catalog.service(part.kind or part.name)
    if kind is None:
        raise UserError(f"there is no kind of service called {part.kind or part.name}")
    return JobSpec(
        role=Role.SERVICE,
        **_common(part, defaults),
        **monitored(part, kind, exporters),
        health_check=fitting.health_check(part.health_check, kind.usual_check(part)),
        concurrent=part.concurrent,
        fresh=part.fresh,
        setup_script=part.setup_script,
        init_script=part.init_script,
        storage=part.storage if "storage" in part.model_fields_set else kind.storage,
        scale=part.replicas if isinstance(part.replicas, Scale) else None,
        cell=dict(cell),
    )


def _client_spec(
    part: Client, cell: Cell, served: Mapping[str, tuple[int, int]], defaults: Resources
) -> JobSpec:
    targets = [(target, *served.get(target.name, (None, 0))) for _, target in paths.targets(part)]
    common = _common(part, defaults)
    if part.nodes > 1:
        common["resources"] = common["resources"].model_copy(update={"nodes": part.nodes})
    return JobSpec(
        role=Role.CLIENT,
        **common,
        duration=part.duration,
        nodes=part.nodes,
        placement=part.placement,
        targets=tuple(
            Target(
                name=target.name,
                port=target.port,
                point=point,
                repeat=repeat,
                health_check_endpoint=target.health_check_endpoint,
            )
            for target, point, repeat in targets
        ),
        script=part.script,
        output=part.output,
        wait=_seconds(part.parameters.get("wait_for_service")),
        cell=dict(cell),
    )


def _seconds(value: Scalar | None) -> float | None:
    """Return the number that a checked parameter says."""
    return float(value) if value is not None else None


def _common(part: Part, defaults: Resources) -> dict[str, Any]:
    return {
        "name": part.name,
        "kind": part.kind or part.name,
        "container": images.container_of(part),
        "command": part.command,
        "args": part.args,
        "resources": overlaid(defaults, part.resources),
        "environment": secrets.open_environment(part),
        "secrets": secrets.sources(part),
        "parameters": part.parameters,
        "restart": part.restart,
    }


def overlaid(defaults: Resources, wanted: Resources) -> Resources:
    """Put a recipe's resources over the cluster's defaults; ``null`` in a recipe removes one."""
    said = wanted.model_fields_set
    kept = {
        name: value
        for name, value in defaults.model_dump(exclude_none=True).items()
        if not any(name in rivals and rivals & said for rivals in _RIVALS)
    }
    return Resources(**{**kept, **wanted.model_dump(exclude_unset=True)})
