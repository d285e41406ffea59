"""What a user may write: the pydantic models of a recipe, and the resolved spec of one job.

Strict and frozen; unknown keys are refused. The field types are in ``benchd.fields``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from benchd.core.brought import Output, ScriptFile, Text
from benchd.core.scraping import Monitored, Watched
from benchd.fields import (
    CredentialName,
    DashedName,
    Duration,
    EnvName,
    Line,
    Model,
    Name,
    Resources,
    Scalar,
)

_NO_LITERAL = (
    "a recipe says where a secret comes from, never the secret itself; write one of "
    "{generate: 24}, {file: PATH} or {credential: NAME}"
)


class Container(Model):
    """Where the software of a job comes from. Without it the job runs on the host."""

    docker_source: Line | None = Field(None, description="image reference, e.g. docker://redis:7")
    image_path: Line | None = Field(
        None,
        description="the image on the cluster; $HOME works, a relative one is below runtime.cache; "
        "default: named after docker_source there",
    )
    build: Literal["job", "login", "inside"] | None = Field(
        None,
        description="where an image that is missing is made. job: a job of its own before this "
        "one; login: on the login node; inside: in this job's own allocation; default: "
        "runtime.build of the cluster",
    )
    build_commands: tuple[Line, ...] = Field(
        (), description="shell commands that are run in docker_source to make the image"
    )
    force_rebuild: bool = Field(
        False, description="make the image anew, once for each run, even if it is there"
    )
    bind_mounts: tuple[Line, ...] = Field((), description="host:container[:ro]")


class HealthCheck(Model):
    """When a service counts as answering."""

    type: Literal["tcp", "http", "command", "log", "redis", "mysql", "postgres"] = Field(
        "tcp",
        description="tcp: the port takes a connection; http: the path answers 2xx; redis: PING "
        "is answered; mysql: the server greets; postgres: it takes logins; log: the output has a "
        "line; command: it ends with status 0",
    )
    endpoint: Line | None = Field(
        None,
        description="http: path or URL; log: extended regular expression; command: shell command "
        "run on the login node with BENCHD_HOST and BENCHD_PORT set; of the others: unused",
    )
    expect: Line | None = Field(
        None, description="http: text that the answer must contain, such as the name of a model"
    )
    interval: Duration = Field(5.0, description="seconds between two probes")
    timeout: Duration = Field(5.0, description="seconds one probe may take")
    retries: Annotated[int, Field(ge=1, le=100_000)] = Field(
        60, description="probes without success before the service is given up as NOT_READY"
    )
    start_period: Duration = Field(
        0.0, description="seconds after start in which failures do not count"
    )


class RestartPolicy(Model):
    """Whether a failed job is tried again, as a new attempt."""

    policy: Literal["never", "on-failure"] = Field(
        "on-failure", description="never: the first failure is final"
    )
    max_attempts: Annotated[int, Field(ge=1, le=100)] = Field(1, description="1 means no retry")
    requeue: bool = Field(
        False, description="let Slurm itself requeue the job after a node failure"
    )
    on: tuple[Literal["node", "exit", "health", "preempted"], ...] = Field(
        ("node", "exit", "health", "preempted"),
        description="after which ends. node: it failed, did not boot or could not launch the job; "
        "the next attempt avoids it. exit: the program ended by itself. health: a service did not "
        "answer. preempted: Slurm gave its nodes to another job",
    )
    more_memory: Annotated[float, Field(ge=1, le=64)] | None = Field(
        None,
        description="after OUT_OF_MEMORY try again with that many times the memory of the last "
        "attempt; without it, do not",
    )
    more_time: Annotated[float, Field(ge=1, le=64)] | None = Field(
        None,
        description="after TIMEOUT try again with that many times the time limit of the last "
        "attempt; without it, do not",
    )
    back_off: Duration = Field(
        10.0,
        description="pause before the second attempt; doubled before each further one, up to 10m",
    )


class Secret(Model):
    """Where a secret comes from: exactly one of these; never the secret itself."""

    generate: Annotated[int, Field(ge=12, le=128)] | None = Field(
        None, description="made for this run: so many letters and digits that nobody needs to know"
    )
    file: Line | None = Field(
        None, description="a file where benchd runs, which only its user can read: absolute or ~/"
    )
    credential: CredentialName | None = Field(
        None, description="what systemd hands over: NAME of LoadCredential=secret.NAME:/path"
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(value is not None for value in (self.generate, self.file, self.credential)) != 1:
            raise ValueError(_NO_LITERAL)
        return self


def _no_literal(value: object) -> object:
    # Whoever wrote the secret itself must not find it quoted in the answer.
    if not isinstance(value, dict | Secret):
        raise ValueError(_NO_LITERAL)
    return value


class TargetRef(Model):
    """The service a client measures, by its name."""

    name: DashedName = Field(description="a service of this recipe, or a running one of that name")
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        None, description="which of its ports, when it has several; default: the first"
    )
    health_check_endpoint: Line | None = Field(
        None,
        description="what the job itself asks before its program starts, for at most "
        "`parameters.wait_for_service` seconds (60): a path or http URL, redis://, tcp://",
    )


class Part(Model):
    """What a service and a client have in common."""

    name: DashedName = Field(
        description="how it is called in this recipe, in job names and results; _ becomes -"
    )
    kind: DashedName | None = Field(
        None,
        description="catalogue entry; default: the name, and for a client with a `script` or the "
        "name of no kind what its script or target service says",
    )
    description: Line | None = Field(None, description="free text")
    container: Container | None = Field(None, description="omit it to run on the host")
    container_image: Line | None = Field(
        None, description="image below runtime.cache, for when container.image_path is not said"
    )
    command: Line | None = Field(None, description="program to run instead of the kind's own")
    args: tuple[Line, ...] = Field((), description="arguments after the kind's own")
    resources: Resources = Field(
        Resources(), description="what to ask of Slurm, over the cluster's defaults"
    )
    environment: dict[EnvName, Line] = Field({}, description="variables of the program")
    secrets: dict[EnvName, Annotated[Secret, BeforeValidator(_no_literal)]] = Field(
        {}, description="variables that only the program sees; clients see those of their services"
    )
    parameters: dict[str, Scalar] = Field({}, description="what the kind can be told; see kinds")
    restart: RestartPolicy = Field(RestartPolicy(), description="what to do when it fails")


Replicas = Annotated[int, Field(ge=1, le=64)]
Swept = Scalar | tuple[Scalar, ...]


class Scale(Model):
    """Between how many replicas a service moves by itself, and when. See docs/howto/topology.md."""

    min: Replicas = Field(1, description="replicas that are there from the start")
    max: Replicas = Field(description="replicas there may be at most")
    scale_up_after: Duration = Field(
        30.0, description="how long measurements wait before a replica is added"
    )
    scale_down_after: Duration = Field(
        300.0, description="how long a replica is idle before it is ended, down to min"
    )
    scale_latency: Duration | None = Field(
        None, description="a health check that takes longer, for scale_up_after, adds one as well"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max < self.min:
            raise ValueError(f"max is {self.max}, less than min, which is {self.min}")
        return self


def _replicas_form(value: object) -> str:
    return "range" if isinstance(value, dict | Scale) else "number"


# Where a client runs, seen from the services it measures.
Placement = Literal["any", "same-node", "other-node"]


class Service(Watched, Part):
    """Something that answers; lives until its clients are done."""

    replicas: Annotated[
        Annotated[Replicas, Tag("number")] | Annotated[Scale, Tag("range")],
        Discriminator(_replicas_form),
    ] = Field(
        1,
        description="that many jobs of it; a client starts when all answer. With {min, max} each "
        "measurement uses one of them, and their number follows what waits",
    )
    ports: tuple[Annotated[int, Field(ge=1, le=65535)] | Literal["auto"], ...] = Field(
        (), description="wanted ports; auto picks a free one; default: the kind's"
    )
    health_check: HealthCheck | None = Field(None, description="default: the kind's")
    concurrent: bool = Field(False, description="several measurements may share it at once")
    fresh: Literal["point", "measurement"] | None = Field(
        None,
        description="a job of its own for each point of the sweep, or for each measurement, one "
        "after the other; default: measurements share it where nothing about it differs",
    )
    storage: Literal["local", "shared"] = Field(
        "shared",
        description="where $BENCHD_DATA is. shared: in the job's directory, and it stays; local: "
        "on a disk of the node, and it is removed when the job ends",
    )
    setup_script: Text | None = Field(
        None,
        description="bash, run on the service's node beside it once it answers; clients wait for "
        "its end, and its failure ends the service",
    )
    init_script: Text | None = Field(
        None,
        description="databases: SQL that prepares a new one; or the name of a file below "
        "`scripts_dir` of the configuration",
    )


class Monitoring(Service):
    """A Prometheus beside the run: it sees all services of it, and its failure is not the run's."""

    name: DashedName = Field("prometheus", description="how it is called, as of a service")
    kind: DashedName | None = Field("prometheus", description="catalogue entry")


class Client(Part):
    """A measurement against one or more services."""

    target_service: TargetRef | None = Field(None, description="the service it measures")
    target_services: tuple[TargetRef, ...] = Field((), description="several services, instead")
    duration: Annotated[int, Field(ge=1, le=86400 * 7)] | None = Field(
        None, description="seconds of measurement; refused where the kind's program knows no time"
    )
    script: ScriptFile | None = Field(None, description="a program of your own as the client")
    output: Output | None = Field(None, description="where it leaves its results")
    nodes: Annotated[int, Field(ge=1, le=1024)] = Field(
        1,
        description="that many load generators, one a node, which start together and share the "
        "load; their samples are merged into one result",
    )
    placement: Placement = Field(
        "any", description="on which node it runs, seen from the services it measures"
    )


class Limits(Model):
    """How long the phases of a run may take before it is given up."""

    pending: Duration | None = Field(None, description="a job may wait in the queue, e.g. 24h")
    ready: Duration | None = Field(None, description="a running service may take to answer")
    run: Duration | None = Field(None, description="the whole run, from the drop to the report")


def _one_cluster(value: object) -> object:
    if value == "any" or isinstance(value, list | tuple):
        raise ValueError(
            "several clusters are not supported yet; name one, or drop one recipe each"
        )
    return value


class Recipe(Model):
    """One YAML file: services, clients, and how to vary them."""

    name: DashedName | None = Field(None, description="default: the file's stem")
    description: Line | None = Field(None, description="free text")
    cluster: Annotated[Name, BeforeValidator(_one_cluster)] | None = Field(
        None, description="default: default_cluster of the configuration"
    )
    service: Service | None = Field(None, description="the service, when there is one")
    services: tuple[Service, ...] = Field((), description="several services, instead")
    client: Client | None = Field(None, description="the client, when there is one")
    clients: tuple[Client, ...] = Field((), description="several clients, instead")
    monitoring: Monitoring | None = Field(
        None, description="a Prometheus that watches the services while they are measured"
    )
    sweep: dict[str, tuple[Swept, ...]] = Field(
        {},
        description="dotted path -> values, e.g. client.parameters.pipeline: [1, 16]; every "
        "combination is a point. Several paths, separated by commas, take lists of values",
    )
    exclude: tuple[dict[str, Scalar], ...] = Field(
        (), description="points that are left out: those with all of an entry's {path: value, ...}"
    )
    repeat: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="measurements of each point, taken in turns: A B A B"
    )
    cooldown: Duration = Field(0.0, description="pause between two measurements of one service")
    stop_on_failure: bool = Field(
        False, description="a measurement that fails for good ends all others of the run"
    )
    limits: Limits = Field(Limits(), description="when to give up")


class Role(StrEnum):
    """What a job is for."""

    SERVICE = "service"
    CLIENT = "client"
    IMAGE = "image"


class Target(Model):
    """Which service a client job measures.

    ``point`` is that service job's point in the same run; None means a service of another run on
    the same cluster, found by name.
    """

    name: Name
    port: int | None = None
    point: int | None = None
    repeat: int = 0  # of the service's job, beside its point
    health_check_endpoint: str | None = None


class JobSpec(Monitored):
    """Everything one job needs, resolved from recipe, sweep point, catalogue and configuration."""

    role: Role
    name: Name
    kind: Name
    container: Container | None = None
    command: str | None = None
    args: tuple[str, ...] = ()
    resources: Resources = Resources()
    environment: dict[str, str] = Field({}, description="beyond the kind's own")
    secrets: dict[str, Secret | None] = Field(
        {}, description="where they come from; null: it stood in the recipe, and was taken out"
    )
    parameters: dict[str, Scalar] = Field({}, description="as the recipe says; see the kind")
    ports: tuple[int | Literal["auto"], ...] = ()
    health_check: HealthCheck | None = None
    restart: RestartPolicy = RestartPolicy()
    concurrent: bool = False
    fresh: Literal["point", "measurement"] | None = None
    cooldown: float = 0.0
    stop_on_failure: bool = False
    storage: Literal["local", "shared"] = "shared"
    scale: Scale | None = None
    duration: int | None = None
    nodes: int = 1
    placement: Placement = "any"
    targets: tuple[Target, ...] = ()
    setup_script: str | None = None
    init_script: str | None = None
    script: ScriptFile | None = None
    output: Output | None = None
    wait: float | None = Field(None, description="seconds for health_check_endpoint to answer")
    cell: dict[str, Scalar] = Field({}, description="the sweep values of this job's point")
    avoid: tuple[str, ...] = Field((), description="nodes that failed earlier attempts")
    images: tuple[Name, ...] = Field((), description="image jobs of its run that come before it")
