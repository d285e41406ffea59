"""Settings: what the configuration file may say, frozen, every mistake at once with its line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from benchd.config_forms import translated
from benchd.errors import ConfigError, Mistake, UserError
from benchd.fields import PATTERNS, Duration, Line, Model, Name, Resources
from benchd.yamlcheck import Words, capped, judge, suggestion, without
from benchd.yamldoc import MAX_BYTES, Document, read, show
from benchd.yamldoc import Path as Place

# Slurm's own advice is not to poll in a loop; sites block accounts that ask every few seconds.
MIN_POLL = 10.0  # seconds, on a cluster that is not marked as a testbed of one's own


class SSHSettings(Model):
    """How to reach a login node. One key is offered, the agent is never asked or forwarded."""

    host: Line = Field(description="the login node's name or address")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(22, description="sshd's port there")
    user: Line | None = Field(None, description="default: the user benchd runs as")
    identity: Line | None = Field(None, description="private key; default ~/.ssh/id_ed25519")
    known_hosts: Line | None = Field(None, description="default ~/.ssh/known_hosts; always checked")
    proxy_jump: Line | None = Field(None, description="[user@]host[:port] to go through")
    config: Line | None = Field(None, description="an OpenSSH client configuration to read")


class RuntimeSettings(Model):
    """How containers are run on the compute nodes."""

    name: Literal[
        "none", "apptainer", "singularity", "charliecloud", "podman", "enroot", "pyxis"
    ] = Field("none", description="none: images are ignored and programs run on the host")
    module: Line | None = Field(
        None, description="environment modules to load first, separated by blanks: A/1.2 B/3.4"
    )
    gpu: Literal["nv", "rocm"] = Field(
        "nv", description="whose GPUs a container is given when a job asks for some"
    )
    options: tuple[Line, ...] = Field(
        (), description="more words for the command that runs a container, e.g. [--writable-tmpfs]"
    )
    cache: Line | None = Field(
        None, description="directory for images; $HOME works; default: images in the workdir"
    )
    build: Literal["job", "login", "inside"] = Field(
        "job",
        description="where a missing image is made. job: a job of its own, once for all that wait "
        "for it; login: on the login node; inside: in the allocation of the job that needs it",
    )
    build_resources: Resources = Field(
        Resources(), description="resources of jobs that make images, over those they would have"
    )
    exporters: dict[Literal["cadvisor", "node", "process", "redis", "mysql"], Line] = Field(
        {},
        description="name -> where that exporter is on compute nodes: a program, or an image "
        "(.sif, .sqfs, .sqsh); default: found in PATH, but for cadvisor",
    )


class PollSettings(Model):
    """How often Slurm is asked."""

    interval: Duration = Field(60.0, description="seconds between two polls while jobs are live")
    floor: Duration = Field(30.0, description="never more often than this, whatever is due")


class Budget(Model):
    """What one cluster may be asked to bear. Limits, not aims."""

    rpc_per_minute: Annotated[float, Field(gt=0)] = Field(
        4.0, description="sustained Slurm RPCs, those of sbatch apart"
    )
    burst: Annotated[int, Field(ge=4)] = Field(10, description="Slurm RPCs that may come at once")
    submits_per_minute: Annotated[float, Field(gt=0)] = Field(
        60.0, description="sustained sbatch calls; ten seconds' worth may come at once"
    )
    channels: Annotated[int, Field(ge=1, le=64)] = Field(
        5, description="SSH sessions at once; sshd's MaxSessions is 10 by default"
    )
    logins_per_10_minutes: Annotated[int, Field(ge=1, le=60)] = Field(
        6, description="SSH logins within ten minutes"
    )
    logins_per_day: Annotated[int, Field(ge=2, le=1000)] = Field(
        60, description="SSH logins within 24 hours; survives a restart"
    )


class RestSettings(Model):
    """How to reach a slurmrestd, where Slurm itself is to be asked through it."""

    url: Line = Field(description="http://host:6820, https://host or unix:/path/of/the/socket")
    user: Line | None = Field(
        None, description="whose token it is; default: ssh.user, else the user benchd runs as"
    )
    token_file: Line | None = Field(
        None, description="file with a JSON web token, mode 0600; read for each request"
    )
    token_command: Line | None = Field(
        None, description="command on this host that prints one; run again before the token ends"
    )
    version: Literal["auto", "v0.0.38", "v0.0.39", "v0.0.40", "v0.0.41", "v0.0.42"] = Field(
        "auto", description="of the interface; auto: the best that both know"
    )
    timeout: Annotated[Duration, Field(ge=1, le=120)] = Field(
        30.0, description="seconds for one request"
    )


class ClusterSettings(Model):
    """A Slurm installation and how to reach it."""

    ssh: SSHSettings | None = Field(None, description="how to reach it; or local: true")
    local: bool = Field(False, description="benchd runs on the login node itself: no SSH")
    rest: RestSettings | None = Field(
        None, description="ask Slurm through slurmrestd; ssh: or local: true is for files then"
    )
    workdir: Line = Field("$HOME/benchd", description="shared directory, seen by compute nodes")
    defaults: Resources = Field(
        Resources(), description="resources that a recipe need not repeat; the same keys"
    )
    runtime: RuntimeSettings = Field(RuntimeSettings(), description="how containers are run")
    poll: PollSettings = Field(PollSettings(), description="how often Slurm is asked")
    budget: Budget = Field(Budget(), description="what the cluster may be asked to bear")
    max_jobs: Annotated[int, Field(ge=2, le=100_000)] = Field(
        200, description="jobs of ours in the queue at once"
    )
    patience: Duration = Field(
        600.0, description="seconds a job may be unknown to Slurm before it counts as LOST"
    )
    message_timeout: Duration = Field(10.0, description="the site's MessageTimeout, in seconds")
    testbed: bool = Field(
        False, description="a test installation of your own: lifts the floors on polling and logins"
    )


class HttpSettings(Model):
    """The TCP side of the HTTP interface (metrics, health)."""

    listen: Line = Field("127.0.0.1:9469", description="address:port")
    token_file: Line | None = Field(
        None, description="file with a token that clients must show; needed off loopback"
    )


class BackupSettings(Model):
    """Copies of the database that are taken by themselves, into ``backup`` below ``state_dir``."""

    interval: Duration = Field(86400.0, description="seconds between two copies")
    keep: Annotated[int, Field(ge=1, le=1000)] = Field(7, description="how many are kept")


class AccessSettings(Model):
    """Who may use the socket and the inbox, beside root and the user benchd runs as.

    They also need the rights of the file system: the socket's group, write permission in the inbox.
    """

    read: tuple[Line, ...] = Field((), description="user names or uids that may ask")
    operate: tuple[Line, ...] = Field(
        (), description="user names or uids that may also submit, cancel and retry"
    )


class Settings(Model):
    """The whole configuration file."""

    state_dir: Line | None = Field(None, description="default: $XDG_STATE_HOME/benchd")
    socket: Line | None = Field(
        None, description="default: $XDG_RUNTIME_DIR/benchd/control.sock; without it, in state_dir"
    )
    default_cluster: Name | None = Field(
        None, description="for recipes that name none; may be left out when there is only one"
    )
    clusters: dict[Name, ClusterSettings] = Field({}, description="name -> how to use it")
    http: HttpSettings | None = Field(HttpSettings(), description="null: no TCP at all")
    access: AccessSettings = Field(AccessSettings(), description="who else may ask and act")
    scripts_dir: Line | None = Field(
        None,
        description="directory of the scripts that recipes name; default: that of this file",
    )
    scan_interval: Duration = Field(2.0, description="seconds between two looks at the inbox")
    backup: BackupSettings | None = Field(
        BackupSettings(), description="copies of the database; null: none are taken"
    )


WORDS = Words(
    patterns=PATTERNS,
    synonyms={
        "cluster": "clusters",
        "hostname": "host",
        "username": "user",
        "login": "user",
        "key": "identity",
        "key_file": "identity",
        "key_filename": "identity",
        "identity_file": "identity",
        "jump": "proxy_jump",
        "container": "runtime",
        "slurm": "defaults",
        "directory": "workdir",
        "time_limit": "time",
        "walltime": "time",
    },
    absent={
        "hpc": "stands beside clusters: here; write it as one of them",
        "password": "passwords are not used; make a key with ssh-keygen and name it in identity",
    },
)

_PLACE = re.compile(r"(/|~(/|$)|\$[A-Za-z_]\w*(/|$)|\$\{[A-Za-z_]\w*\}(/|$)).*", re.ASCII)
_REST_URL = re.compile(
    r"https?://(?:\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::[0-9]{1,5})?/?|unix:/.+", re.ASCII
)
_LISTEN = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:]+):(?P<port>[0-9]{1,5})")


def find(path: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """Return the configuration file to use, or say where it was looked for."""
    environ = os.environ if environ is None else environ
    given = path or environ.get("BENCHD_CONFIG")
    if given:
        tried = [Path(given)]
    else:
        home = Path(environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
        tried = [home / "benchd" / "benchd.yaml", Path("/etc/benchd/benchd.yaml")]
    for candidate in tried:
        if candidate.is_file():
            return candidate
    places = " and ".join(str(candidate) for candidate in tried)
    raise UserError(
        f"no configuration: {places} {'is' if len(tried) == 1 else 'are'} missing or no file. "
        "Copy config/benchd.yaml of benchd's repository there and change its host, user and "
        "account, or try `benchd demo`, which needs none"
    )


def remarks(path: str | Path) -> tuple[Mistake, ...]:
    """Return what became of the parts of a configuration in the form of another project."""
    return translated(read(_bytes(path), str(path), ConfigError))[1]


def _bytes(path: str | Path) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read the configuration {path}: {error.strerror}") from error


def load(path: str | Path) -> Settings:
    """Read a configuration file, or raise ``ConfigError`` with every mistake in it."""
    settings = parse(_bytes(path), str(path))
    here = str(Path(path).resolve().parent)
    return settings if settings.scripts_dir else settings.model_copy(update={"scripts_dir": here})


def parse(data: bytes, file: str) -> Settings:
    """Return the settings that a text says, or raise ``ConfigError`` with every mistake."""
    document, _ = translated(read(data, file, ConfigError))
    judged = judge(Settings, document, WORDS)
    mistakes = [*document.mistakes, *judged.mistakes]
    refused = judged.paths | document.broken
    partial = judged.model
    if partial is None and isinstance(document.data, dict):
        rest = without(document.data, refused)
        for cluster in _mappings(rest.get("clusters")):
            for ssh in _mappings({"ssh": cluster.get("ssh")}):
                ssh.setdefault("host", "missing")
        partial = judge(Settings, replace(document, data=rest)).model
    if partial is not None:
        mistakes += _judged(partial, document, refused)
    if mistakes or judged.model is None:
        raise ConfigError(file, capped(mistakes))
    only = next(iter(judged.model.clusters))
    default = judged.model.default_cluster or only
    return judged.model.model_copy(update={"default_cluster": default})


def _mappings(data: object) -> Iterable[dict[str, object]]:
    values = data.values() if isinstance(data, dict) else ()
    return [value for value in values if isinstance(value, dict)]


def _judged(settings: Settings, document: Document, refused: frozenset[Place]) -> list[Mistake]:
    """Return what is wrong beyond the types, except where something has been said already."""
    found = [*_general(settings)]
    for name, cluster in settings.clusters.items():
        found += [(("clusters", name, *place), what) for place, what in _cluster(cluster)]
    return [
        document.mistake(place, what)
        for place, what in found
        if not any(place[: len(path)] == path for path in refused)
        # A cluster that was refused is one all the same.
        and not any(place == ("clusters",) == path[:1] for path in refused)
    ]


def _general(settings: Settings) -> Iterable[tuple[Place, str]]:
    """Yield what is wrong outside the clusters."""
    names = list(settings.clusters)
    default = settings.default_cluster
    if not names:
        yield ("clusters",), "no cluster; add one: clusters: {NAME: {ssh: {host: ...}}}"
    elif default is None and len(names) > 1:
        yield (), f"add default_cluster: there are several clusters ({', '.join(names)})"
    elif default is not None and default not in names:
        what = f"there is no cluster called {show(default)}{suggestion(default, names)}"
        yield ("default_cluster",), what
    for key in ("state_dir", "socket", "scripts_dir"):
        value = getattr(settings, key)
        if value is not None and not _PLACE.fullmatch(value):
            yield (key,), f"must be an absolute path or start with ~ or $HOME, not {show(value)}"
    if settings.http is not None:
        listen = _LISTEN.fullmatch(settings.http.listen)
        if listen is None or int(listen["port"]) > 65535:
            what = f"must be address:port such as 127.0.0.1:9469, not {show(settings.http.listen)}"
            yield ("http", "listen"), what


def _cluster(cluster: ClusterSettings) -> Iterable[tuple[Place, str]]:
    """Yield what is wrong with one cluster."""
    if cluster.rest is not None:
        yield from ((("rest", *place), what) for place, what in _rest(cluster.rest))
    if cluster.ssh is None and not cluster.local and cluster.rest is not None:
        what = (
            "slurmrestd starts jobs but brings no file home: no results, and nothing that keeps a "
            "job from running twice; add ssh: {host: ...}, or local: true, for the files"
        )
        yield ("rest",), what
    elif cluster.ssh is None and not cluster.local:
        yield (), "how to reach it is missing; add ssh: {host: ...}, or local: true"
    elif cluster.ssh is not None and cluster.local:
        yield ("local",), "write either ssh: or local: true, not both"
    if not _PLACE.fullmatch(cluster.workdir):
        what = f"must be an absolute path or start with $HOME, not {show(cluster.workdir)}"
        yield ("workdir",), what
    poll = cluster.poll
    if not cluster.testbed:
        for key in ("interval", "floor"):
            value = getattr(poll, key)
            if value < MIN_POLL:
                what = f"{value:g} s is too often for a shared cluster: at least {MIN_POLL:g} s"
                yield ("poll", key), f"{what} (testbed: true lifts this on one of your own)"
    if poll.interval < poll.floor and (cluster.testbed or poll.interval >= MIN_POLL):
        what = f"{poll.interval:g} s is below the floor of {poll.floor:g} s; lower poll.floor too"
        yield ("poll", "interval"), what


def _rest(rest: RestSettings) -> Iterable[tuple[Place, str]]:
    """Yield what is wrong with how slurmrestd is to be reached."""
    if not _REST_URL.fullmatch(rest.url):
        what = f"must be like http://host:6820 or unix:/run/slurmrestd.sock, not {show(rest.url)}"
        yield ("url",), what
    given = [key for key in ("token_file", "token_command") if getattr(rest, key) is not None]
    if len(given) > 1:
        yield (given[1],), "write either token_file or token_command, not both"
    elif not given and not rest.url.startswith("unix:"):
        yield (), "slurmrestd wants a token over TCP; add token_file or token_command"
