"""Settings: what the configuration file may say, frozen, every mistake at once with its line."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from benchd.fields import Duration, Line, Model, Name, Resources


class SSHSettings(Model):
    """How to reach a login node. One key is offered, the agent is never asked or forwarded."""

    host: Line
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    user: Line | None = Field(None, description="default: the user benchd runs as")
    identity: Line | None = Field(None, description="private key; default ~/.ssh/id_ed25519")
    known_hosts: Line | None = Field(None, description="default ~/.ssh/known_hosts; always checked")
    proxy_jump: Line | None = Field(None, description="[user@]host[:port] to go through")
    config: Line | None = Field(None, description="an OpenSSH client configuration to read")


class RuntimeSettings(Model):
    """How containers are run on the compute nodes."""

    name: Literal["none", "apptainer", "singularity"] = "none"
    module: Line | None = Field(None, description="environment module to load first")
    cache: Line | None = Field(None, description="directory for images; $HOME works")


class PollSettings(Model):
    """How often Slurm is asked."""

    interval: Duration = Field(60.0, description="seconds between two polls while jobs are live")
    floor: Duration = Field(30.0, description="never more often than this, whatever is due")


class Budget(Model):
    """What one cluster may be asked to bear. Limits, not aims."""

    rpc_per_minute: Annotated[float, Field(gt=0)] = Field(4.0, description="sustained Slurm RPCs")
    burst: Annotated[int, Field(ge=4)] = Field(10, description="Slurm RPCs that may come at once")
    submits_per_minute: Annotated[float, Field(gt=0)] = Field(60.0, description="sbatch calls")
    channels: Annotated[int, Field(ge=1, le=64)] = Field(
        5, description="SSH sessions at once; sshd's MaxSessions is 10 by default"
    )


class ClusterSettings(Model):
    """A Slurm installation and how to reach it."""

    ssh: SSHSettings | None = None
    local: bool = Field(False, description="benchd runs on the login node itself: no SSH")
    workdir: Line = Field("$HOME/benchd", description="shared directory, seen by compute nodes")
    defaults: Resources = Resources()
    runtime: RuntimeSettings = RuntimeSettings()
    poll: PollSettings = PollSettings()
    budget: Budget = Budget()
    max_jobs: Annotated[int, Field(ge=1, le=100_000)] = Field(
        200, description="jobs of ours in the queue at once"
    )
    patience: Duration = Field(
        600.0, description="seconds a job may be unknown to Slurm before it counts as LOST"
    )
    message_timeout: Duration = Field(10.0, description="the site's MessageTimeout, in seconds")
    testbed: bool = Field(
        False, description="a test installation of your own: lifts the floors on polling"
    )


class HttpSettings(Model):
    """The TCP side of the HTTP interface (metrics, health)."""

    listen: Line = "127.0.0.1:9469"
    token_file: Line | None = None


class Settings(Model):
    """The whole configuration file."""

    state_dir: Line | None = Field(None, description="default: $XDG_STATE_HOME/benchd")
    socket: Line | None = Field(None, description="default: $XDG_RUNTIME_DIR/benchd/control.sock")
    default_cluster: Name | None = None
    clusters: dict[Name, ClusterSettings] = {}
    http: HttpSettings | None = HttpSettings()
    scan_interval: Duration = Field(2.0, description="seconds between two looks at the inbox")
