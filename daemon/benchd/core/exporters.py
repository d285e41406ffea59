"""What runs beside a service to tell Prometheus of it: which programs, and how they are started.

Each listens on a port of the job's own. A password is handed over in the environment or through a
pipe, never as an argument. An exporter that is missing or ends costs the job nothing but its
numbers; the job's log says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from shlex import quote

from benchd.core.containers import shell_path
from benchd.core.payload import Beside, Payload, Sh
from benchd.core.scraping import Exporter
from benchd.core.spec import JobSpec

# How an image is told from a program, in the configuration.
_IMAGES = (".sif", ".sqfs", ".sqsh")
# What process-exporter groups by: the program's name, as `benchd_job_program_*` does.
_GROUPS = 'process_names: [{name: "{{.Comm}}", cmdline: [".+"]}]\n'

Argv = tuple[str | Sh, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterKind:
    """One exporter: the programs that are looked for, and what they are told."""

    programs: tuple[str, ...]  # names under which distributions and releases have it
    argv: Callable[[str], Argv]  # the name of its port's variable -> arguments
    files: Mapping[str, str] = field(default_factory=dict)
    services: tuple[str, ...] = ()  # kinds of services that it understands; empty: any


def _at(port: str) -> str:
    """Return a shell word for where an exporter listens: where the service does."""
    return f'"$BENCHD_BIND:${port}"'


def _cadvisor(port: str) -> Argv:
    address = (Sh('-listen_ip="$BENCHD_BIND"'), Sh(f'-port="${port}"'))
    return (*address, "-housekeeping_interval=10s", "-store_container_labels=false")


def _redis(port: str) -> Argv:
    # REDIS_PASSWORD is in its environment already, where it looks for it.
    address = Sh('"redis://$BENCHD_HOST_IP:$BENCHD_PORT"')
    return ("-redis.addr", address, "-web.listen-address", Sh(_at(port)))


# A file that is a pipe: printf is part of the shell, so no list of processes shows the password.
_MY_CNF = (
    "<(printf '[client]\\nuser=benchd\\npassword=%s\\nhost=%s\\nport=%s\\n' "
    '"${BENCHD_TICKET:-}" "$BENCHD_HOST_IP" "$BENCHD_PORT")'
)


def _mysql(port: str) -> Argv:
    address = Sh(f"--web.listen-address={_at(port)}")
    # The user may not ask about replication, which a service of ours has none of.
    return (Sh(f"--config.my-cnf={_MY_CNF}"), address, "--no-collect.slave_status")


def _process(port: str) -> Argv:
    config = Sh('"$JOB"/process-exporter.yml')
    return ("-config.path", config, "-web.listen-address", Sh(_at(port)))


def _node(port: str) -> Argv:
    return (Sh(f"--web.listen-address={_at(port)}"),)


def _job(port: str) -> Argv:
    address = (Sh('"$BENCHD_BIND"'), "--port", Sh(f'"${port}"'))
    return ("--host", *address, "--pid", Sh('"$$"'))


EXPORTERS: Mapping[str, ExporterKind] = {
    "job": ExporterKind(programs=("python3",), argv=_job),
    "cadvisor": ExporterKind(programs=("cadvisor",), argv=_cadvisor),
    "node": ExporterKind(programs=("prometheus-node-exporter", "node_exporter"), argv=_node),
    "process": ExporterKind(
        programs=("prometheus-process-exporter", "process-exporter"),
        argv=_process,
        files={"process-exporter.yml": _GROUPS},
    ),
    "redis": ExporterKind(
        programs=("prometheus-redis-exporter", "redis_exporter"),
        argv=_redis,
        services=("redis", "generic"),
    ),
    "mysql": ExporterKind(
        programs=("prometheus-mysqld-exporter", "mysqld_exporter"),
        argv=_mysql,
        services=("mysql", "mariadb", "generic"),
    ),
}


def accompanied(payload: Payload, spec: JobSpec) -> Payload:
    """Return the payload with the exporters that the job's spec names."""
    if not spec.exporters:
        return payload
    files, ship, said = dict(payload.files), payload.ship, []
    for exporter in spec.exporters:
        files |= EXPORTERS[exporter.name].files
        if exporter.name == "job":
            ship = (*ship, "exporter")
        if exporter.stands_for:
            what = f"this cluster's runtime.exporters names no {exporter.stands_for}"
            said.append(f"benchd_say {quote(what + ': benchd tells of the job itself instead')}")
    return replace(
        payload,
        files=files,
        ship=ship,
        preamble=(*payload.preamble, *said),
        beside=(*payload.beside, *map(_beside, spec.exporters)),
    )


def _beside(exporter: Exporter) -> Beside:
    kind, program = EXPORTERS[exporter.name], exporter.program
    arguments = kind.argv(f"BENCHD_PORT_{exporter.port}")
    is_image = program is not None and program.endswith(_IMAGES)
    if exporter.name == "job":
        arguments = (Sh('"$BENCHD_SHIP_EXPORTER"'), *arguments)
    start = kind.programs[0] if is_image or program is None else Sh(shell_path(program))
    if program is None and len(kind.programs) > 1:
        looks = " || ".join(f"command -v {name}" for name in kind.programs)
        start = Sh(f'"$({looks} || echo {kind.programs[0]})"')
    if is_image and exporter.name != "cadvisor":
        start = kind.programs[-1]  # images carry the names of releases, not of distributions
    return Beside(
        name=f"exporter-{exporter.name}",
        argv=(start, *arguments),
        port=exporter.port,
        image=program if is_image else None,
    )
