"""The jobs whose batch scripts are kept in tests/golden, and a way to render any job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from benchd.config import RuntimeSettings
from benchd.core.payload import Beside, Payload, Sh, Step
from benchd.core.script import render
from benchd.core.spec import Container, JobSpec, RestartPolicy, Role
from benchd.fields import Resources

TOKEN: Final = "bq7x2m-k5wz3tqa2f-s-redis-p0r0-0-a1"
SHIP: Final = {"llm": "llm-0123456789abcdef.pyz", "load": "load-fedcba9876543210.pyz"}
HOST: Final = RuntimeSettings()
APPTAINER: Final = RuntimeSettings(
    name="apptainer", module="Apptainer/1.2.4-GCCcore-12.3.0", cache="$SCRATCH/cache"
)
SINGULARITY: Final = RuntimeSettings(name="singularity")
# The other runtimes; what one of them can be told shows with each of the kept copies.
RUNTIMES: Final = {
    "charliecloud": RuntimeSettings(name="charliecloud"),
    "podman": RuntimeSettings(name="podman", gpu="rocm", options=("--shm-size", "1g")),
    "enroot": RuntimeSettings(name="enroot", module="enroot/3.4 squashfuse/0.5", cache="~/sq"),
    "pyxis": RuntimeSettings(name="pyxis"),
}
REDIS_SIF: Final = Container(
    docker_source="docker://redis:7-alpine",
    image_path="$HOME/containers/redis.sif",
    bind_mounts=("$SCRATCH/redis:/data", "/etc/hosts:/etc/hosts:ro"),
)
REDIS_FROM: Final = Container(
    docker_source="docker.example/redis:7-alpine",
    bind_mounts=("$SCRATCH/redis:/data", "/etc/hosts:/etc/hosts:ro", "~/models"),
)
# Everything a line of text can do to a shell, short of control characters, which models refuse.
NASTY: Final = "$(touch pwned) `id` ; rm -rf ~ | & > < \\ ' \" * ? # ! {a,b} [x] é 日本"
# A payload with everything that can go on beside its program.
COMPANY: Final[dict[str, Any]] = {
    "preamble": ('export SEED="$BENCHD_TOKEN"',),
    "before": (Step(argv=("mysqld", "--initialize", Sh('"--datadir=$BENCHD_DATA"'))),),
    "workers": Step(argv=("ray", "start", Sh('"--address=$BENCHD_HEAD_IP:6379"'))),
    "beside": (
        Beside(name="node-exporter", argv=("node_exporter",)),
        Beside(name="redis.exporter", argv=("/redis_exporter",), image="$HOME/exporter.sif"),
    ),
    "once_up": (Step(argv=("sh", "-c", NASTY), on_host=True, stdin=Sh("echo password")),),
    "after": ('rm -f "$JOB/big"', "echo over"),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """What ``render`` is given."""

    spec: JobSpec
    payload: Payload
    runtime: RuntimeSettings = HOST
    ship: dict[str, str] = field(default_factory=lambda: dict(SHIP))

    def render(self, token: str = TOKEN) -> str:
        """Return the script."""
        return render(self.spec, token, self.payload, self.runtime, self.ship)


def case(
    *argv: str | Sh,
    runtime: RuntimeSettings = HOST,
    payload: dict[str, Any] | None = None,
    **over: Any,
) -> Case:
    """Return a service job of kind ``generic`` that runs ``argv``, changed by JobSpec's fields."""
    values: dict[str, Any] = {"role": Role.SERVICE, "name": "redis", "kind": "generic", **over}
    return Case(
        spec=JobSpec(**values), payload=Payload(argv=argv, **(payload or {})), runtime=runtime
    )


def _redis(**over: Any) -> Case:
    argv = ("redis-server", "--port", Sh('"$BENCHD_PORT"'), "--bind", Sh('"$BENCHD_HOST_IP"'))
    over.setdefault("ports", (6379,))
    over.setdefault(
        "resources", Resources(partition="cpu", time="01:00:00", cpus_per_task=4, mem="4G")
    )
    return case(*argv, kind="redis", environment={"REDIS_PERSISTENCE": "none"}, **over)


def _redis_benchmark(**over: Any) -> Case:
    argv = ("-h", Sh('"$BENCHD_TARGET_HOST"'), "-p", Sh('"$BENCHD_TARGET_PORT"'), "-n", "100000")
    preamble = ('exec >"$BENCHD_RESULT_DIR/redis-benchmark.csv"',)
    return case(
        *("redis-benchmark", *argv, "--csv"),
        payload={"preamble": preamble},
        role=Role.CLIENT,
        kind="redis-benchmark",
        resources=Resources(ntasks=1, time="10"),
        **over,
    )


GOLDEN: Final = {
    "redis-host": _redis(),
    "redis-apptainer": _redis(runtime=APPTAINER, container=REDIS_SIF),
    "redis-singularity": _redis(
        runtime=SINGULARITY, container=Container(docker_source="redis:7-alpine"), ports=("auto",)
    ),
    "redis-benchmark-host": _redis_benchmark(),
    "redis-benchmark-apptainer": _redis_benchmark(
        runtime=APPTAINER, container=Container(image_path="/images/redis 7.sif")
    ),
    "generic-nasty": case(
        *("printf", "%s\\n", NASTY, "--output=/etc/passwd", "-x", "a=b", ""),
        payload={"files": {"conf/nasty.txt": NASTY + "\n#SBATCH --uid=0\n"}},
        environment={"NASTY": NASTY, "SLURM_JOB_ID": "1", "LD_PRELOAD": "/x y.so"},
        ports=("auto", 8080),
    ),
    "requeue": case(
        "python3",
        Sh('"$BENCHD_SHIP_LLM"'),
        payload={"ship": ("llm",)},
        restart=RestartPolicy(requeue=True),
        ports=("auto",),
    ),
    "gpu": case(
        *("python3", Sh('"$BENCHD_SHIP_LLM"'), "--model", NASTY),
        payload={"ship": ("llm",), "environment": {"HF_HOME": "/cache"}},
        runtime=APPTAINER,
        container=Container(
            docker_source="docker://vllm/vllm-openai:v0.11.2", image_path="~/vllm.sif"
        ),
        resources=Resources(
            nodes=1,
            time="1-00",
            gres="gpu:a100:4",
            exclusive=True,
            constraint="a100&(nvlink|ib)",
            signal="B:TERM@60",
        ),
        environment={"MOTTO": NASTY},
        ports=("auto",),
    ),
    "company-host": case(
        "mysqld",
        payload=COMPANY,
        resources=Resources(nodes=3),
        ports=("auto", 8080),
        environment={"MOTTO": NASTY},
        storage="local",
    ),
    "company-charliecloud": case(
        "mysqld",
        payload=COMPANY,
        runtime=RUNTIMES["charliecloud"],
        container=Container(image_path="/images/mysql", bind_mounts=("/a b:/c d:ro",)),
        secrets={"MYSQL_ROOT_PASSWORD": None},
        ports=("auto",),
    ),
    "each-node-podman": case(
        *("python3", Sh('"$BENCHD_SHIP_LOAD"')),
        payload={"ship": ("load",), "each_node": True},
        runtime=RUNTIMES["podman"],
        container=Container(docker_source="docker.example:5000/a/load:1"),
        role=Role.CLIENT,
        resources=Resources(nodes=4, gres="gpu:1"),
        environment={"MOTTO": NASTY},
    ),
    **{
        f"redis-{name}": _redis(runtime=runtime, container=REDIS_FROM, storage="local")
        for name, runtime in RUNTIMES.items()
    },
}
